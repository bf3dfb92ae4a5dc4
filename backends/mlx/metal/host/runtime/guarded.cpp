#include "guarded.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace msl {
namespace checker {

namespace {

// Address space only: as far as an index that overflows 32 bits can miss, so that a stray access
// is nearest to the buffer it was meant for.
constexpr size_t kGuard = size_t(16) << 30;
constexpr size_t kPage = 64 << 10;  // the largest page size of the platforms supported

}  // namespace

GuardedCopy::GuardedCopy(void* from, size_t bytes) : from_(from), bytes_(bytes) {
    const size_t offset = reinterpret_cast<uintptr_t>(from) % kPage;
    const size_t usable = (offset + bytes + kPage - 1) / kPage * kPage;
    mapped_ = usable + 2 * kGuard + kPage;
    mapping_ = static_cast<char*>(
        mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    const uintptr_t middle = reinterpret_cast<uintptr_t>(mapping_) + kGuard + kPage - 1;
    char* aligned = reinterpret_cast<char*>(middle / kPage * kPage);
    if (mapping_ == MAP_FAILED || mprotect(aligned, usable, PROT_READ | PROT_WRITE)) {
        perror("metal checker: cannot reserve address space");
        abort();
    }
    data_ = aligned + offset;
    memcpy(data_, from, bytes);
}

GuardedCopy::GuardedCopy(GuardedCopy&& other) noexcept
    : from_(other.from_),
      bytes_(other.bytes_),
      mapping_(other.mapping_),
      mapped_(other.mapped_),
      data_(other.data_) {
    other.mapping_ = nullptr;
}

GuardedCopy::~GuardedCopy() {
    if (mapping_) munmap(mapping_, mapped_);
}

void GuardedCopy::copy_back() const { memcpy(from_, data_, bytes_); }

}  // namespace checker
}  // namespace msl
