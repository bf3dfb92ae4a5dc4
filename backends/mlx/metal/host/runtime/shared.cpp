#include "shared.h"

#include <mutex>
#include <vector>

#include "workers.h"

namespace msl {
namespace {

struct IdleStacks {
    std::mutex mutex;
    std::vector<StackPool*> pools[2];  // without guards, and with them
};

IdleStacks& idle() {
    static IdleStacks* instance = new IdleStacks;  // never destroyed: threads may outlive statics
    return *instance;
}

StackPool* take_stacks(bool guarded) {
    std::lock_guard<std::mutex> lock(idle().mutex);
    std::vector<StackPool*>& pools = idle().pools[guarded];
    if (pools.empty()) return new StackPool(guarded);
    StackPool* stacks = pools.back();
    pools.pop_back();
    return stacks;
}

void give_stacks(StackPool* stacks) {
    std::lock_guard<std::mutex> lock(idle().mutex);
    idle().pools[stacks->guarded()].push_back(stacks);
}

}  // namespace
}  // namespace msl

extern "C" __attribute__((visibility("default")))
const msl_shared msl_shared_by_all = {msl::parallel, msl::take_stacks, msl::give_stacks};
