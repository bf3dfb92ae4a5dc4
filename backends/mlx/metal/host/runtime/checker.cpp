#include "checker.h"

#include <link.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "guarded.h"
#include "shadow.h"
#include "threadgroup.h"

namespace msl {
namespace checker {
namespace {

// Larger inputs stay where they are: they are model weights, mapped and perhaps sparse.
constexpr size_t kCopyLimit = 16 << 20;
// A thread's variables and arrays.
const char kThreadMemory[] = "thread memory";

struct Region {
    uintptr_t begin;
    uintptr_t end;
    const char* name;
    enum { input, output, threadgroup } kind;
    bool initialised;
    Shadow* shadow;  // null for inputs: nobody may write them, so nothing can race
    uint64_t* bytes_read = nullptr;

    bool holds(uintptr_t address, size_t bytes) const {
        return address >= begin && address < end && bytes <= end - address;
    }
};

// The running launch. Threads are fibres of one OS thread.
struct State {
    std::vector<Region> buffers;
    std::vector<Region> threadgroup_memory;
    std::vector<GuardedCopy> copies;
    std::vector<GuardedCopy*> output_copies;
    std::vector<Shadow> shadows;  // of the outputs
    std::vector<Shadow> arrays;   // of threadgroup memory, kept from one threadgroup to the next
    std::vector<std::pair<uintptr_t, uintptr_t>> image;
    Threadgroup* group = nullptr;
    bool combining = false;  // lanes: they may touch one another's stacks
    Now now[kMaxThreads];
    const Region* last = nullptr;
};

State& state() {
    static State* instance = new State;
    return *instance;
}

int collect_image(dl_phdr_info* info, size_t, void* self) {
    std::vector<std::pair<uintptr_t, uintptr_t>> segments;
    bool mine = false;
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        const auto& header = info->dlpi_phdr[i];
        if (header.p_type != PT_LOAD) continue;
        const uintptr_t begin = info->dlpi_addr + header.p_vaddr;
        segments.emplace_back(begin, begin + header.p_memsz);
        const uintptr_t here = reinterpret_cast<uintptr_t>(self);
        mine |= here >= begin && here < begin + header.p_memsz;
    }
    if (mine) state().image = segments;
    return mine;
}

// Within the frames of the running thread's kernel, which lie between this function's and the one
// that called it.
bool on_own_stack(uintptr_t address, size_t bytes) {
    const uintptr_t end = current_fibre()->kernel_stack;
    const uintptr_t begin = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    return address >= begin && address < end && bytes <= end - address;
}

const Region* find(uintptr_t address, size_t bytes) {
    State& s = state();
    if (s.last && s.last->holds(address, bytes)) return s.last;
    for (const auto* regions : {&s.threadgroup_memory, &s.buffers})
        for (const Region& region : *regions)
            if (region.holds(address, bytes)) return s.last = &region;
    return nullptr;
}

// The memory an address outside of every region was most likely meant for.
const Region* nearest(uintptr_t address) {
    const Region* best = nullptr;
    uintptr_t best_distance = ~uintptr_t(0);
    for (const auto* regions : {&state().threadgroup_memory, &state().buffers}) {
        for (const Region& region : *regions) {
            const uintptr_t distance = address < region.begin  ? region.begin - address
                                       : address >= region.end ? address - region.end
                                                               : 0;
            if (distance < best_distance) {
                best_distance = distance;
                best = &region;
            }
        }
    }
    return best;
}

const char* describe(const Region& region) {
    return region.kind == Region::threadgroup ? "threadgroup memory"
           : region.kind == Region::output    ? "output"
                                              : "input";
}

const char* verb(Access access) {
    return access == Access::read ? "read" : access == Access::write ? "write" : "atomic access";
}

[[noreturn]] void out_of_bounds(uintptr_t address, size_t bytes, Access access, const void* site) {
    State& s = state();
    const uint32_t thread = current_fibre()->thread;
    for (const auto& [begin, end] : s.image)
        if (address >= begin && address < end)
            s.group->fail(thread, "out-of-bounds", {site, nullptr, "program constant"},
                          "%s of %zu bytes to memory that is constant", verb(access), bytes);
    if (s.group->stacks().holds(address))
        s.group->fail(thread, "out-of-bounds", {site, nullptr, kThreadMemory},
                      "%s of %zu bytes outside of the thread's own '%s'", verb(access), bytes,
                      kThreadMemory);
    const Region* region = nearest(address);
    if (!region)
        s.group->fail(thread, "out-of-bounds", {site}, "%s of %zu bytes, the kernel has no memory",
                      verb(access), bytes);
    const int64_t offset = int64_t(address - region->begin);
    s.group->fail(thread, "out-of-bounds", {site, nullptr, region->name, offset},
                  "%s of %zu bytes at byte %lld of %s '%s', which has %zu bytes", verb(access),
                  bytes, static_cast<long long>(offset), describe(*region), region->name,
                  size_t(region->end - region->begin));
}

bool report_unwritten(const Region& region, msl_fault& fault) {
    const Shadow::Unwritten unwritten = region.shadow->unwritten();
    if (!unwritten.bytes) return false;
    memset(&fault, 0, sizeof fault);
    fault.kind = "unwritten";
    fault.offset = int64_t(unwritten.first);
    snprintf(fault.buffer, sizeof fault.buffer, "%s", region.name);
    snprintf(fault.text, sizeof fault.text,
             "%zu of %zu bytes of output '%s' were never written, the first is byte %zu",
             unwritten.bytes, size_t(region.end - region.begin), region.name, unwritten.first);
    return true;
}

}  // namespace

void begin_launch(msl_buffer* buffers, int count, void** addresses) {
    State& s = state();
    // Pointers into both vectors are kept.
    s.shadows.reserve(size_t(count));
    s.copies.reserve(size_t(count));
    for (int i = 0; i < count; ++i) {
        msl_buffer& buffer = buffers[i];
        buffer.bytes_read = 0;
        const bool output = buffer.role != msl_input;
        if (output || buffer.bytes <= kCopyLimit) {
            s.copies.emplace_back(buffer.data, buffer.bytes);
            addresses[i] = s.copies.back().data();
            if (output) s.output_copies.push_back(&s.copies.back());
        }
        const uintptr_t begin = reinterpret_cast<uintptr_t>(addresses[i]);
        Region region = {begin,   begin + buffer.bytes, buffer.name, Region::input, true,
                         nullptr, &buffer.bytes_read};
        if (output) {
            region.kind = Region::output;
            region.initialised = buffer.role == msl_initialised_output;
            s.shadows.emplace_back(buffer.bytes);
            region.shadow = &s.shadows.back();
        }
        s.buffers.push_back(region);
    }
    if (s.image.empty()) dl_iterate_phdr(collect_image, reinterpret_cast<void*>(&collect_image));
}

void end_launch(msl_fault& fault, bool whole) {
    State& s = state();
    for (const Region& region : s.buffers)
        if (whole && region.kind == Region::output && !region.initialised)
            if (report_unwritten(region, fault)) break;
    for (const GuardedCopy* copy : s.output_copies) copy->copy_back();
    s.buffers.clear();
    s.threadgroup_memory.clear();
    s.output_copies.clear();
    s.copies.clear();
    s.shadows.clear();
    s.last = nullptr;
}

void begin_threadgroup(Threadgroup& group, uint64_t index) {
    State& s = state();
    s.group = &group;
    s.combining = false;
    s.threadgroup_memory.clear();
    s.threadgroup_memory.reserve(64);
    s.last = nullptr;
    for (uint32_t thread = 0; thread < kMaxThreads; ++thread) {
        s.now[thread] = Now{};
        s.now[thread].group = uint32_t(index) + 1;
        s.now[thread].thread = thread;
    }
}

void add_threadgroup_memory(const char* name, void* data, size_t bytes) {
    State& s = state();
    const size_t index = s.threadgroup_memory.size();
    // Pointers into `arrays` must survive: at most 64 declarations, see Threadgroup::memory.
    s.arrays.reserve(64);
    if (s.arrays.size() <= index) s.arrays.emplace_back(kThreadgroupMemoryLimit);
    s.arrays[index].forget(bytes);
    const uintptr_t begin = reinterpret_cast<uintptr_t>(data);
    s.threadgroup_memory.push_back(
        {begin, begin + bytes, name, Region::threadgroup, false, &s.arrays[index], nullptr});
}

void threadgroup_barrier(uint32_t thread, int flags) {
    Now& now = state().now[thread];
    for (int kind : {Now::device, Now::threadgroup})
        if (flags & (1 << kind)) ++now.threadgroup_epoch[kind];
}

void simdgroup_barrier(uint32_t thread, int flags) {
    Now& now = state().now[thread];
    for (int kind : {Now::device, Now::threadgroup})
        if (flags & (1 << kind)) ++now.simdgroup_epoch[kind];
}

void access(uintptr_t address, size_t bytes, Access access, const void* site) {
    State& s = state();
    if (on_own_stack(address, bytes)) return;
    if (s.combining && s.group->stacks().holds(address)) return;
    const Region* region = find(address, bytes);
    if (!region) {
        if (access == Access::read)
            for (const auto& [begin, end] : s.image)
                if (address >= begin && address + bytes <= end) return;
        out_of_bounds(address, bytes, access, site);
    }
    if (region->bytes_read && access != Access::write) *region->bytes_read += bytes;
    if (!region->shadow) {
        if (access == Access::read) return;
        s.group->fail(current_fibre()->thread, "input-write",
                      {site, nullptr, region->name, int64_t(address - region->begin)},
                      "%s of %zu bytes at byte %zu of input '%s'", verb(access), bytes,
                      size_t(address - region->begin), region->name);
    }
    const uint32_t thread = current_fibre()->thread;
    const Now& now = s.now[thread];
    const int kind = region->kind == Region::threadgroup ? Now::threadgroup : Now::device;
    const size_t first = address - region->begin;
    const bool reads = access == Access::read || access == Access::atomic_update;
    for (size_t offset = first; offset < first + bytes; ++offset) {
        Shadow::Cell& cell = region->shadow->at(offset);
        if (reads && !cell.write.group && !region->initialised)
            s.group->fail(thread, "uninitialised", {site, nullptr, region->name, int64_t(offset)},
                          "read of byte %zu of %s '%s' before anything was written there", offset,
                          describe(*region), region->name);
        const Conflict conflict = cell.check(now, kind, access, site);
        if (!conflict.with) continue;
        const bool same_group = conflict.with->group == now.group;
        char other[96];
        snprintf(other, sizeof other, same_group ? "thread %u%s" : "thread %u%s of threadgroup %u",
                 conflict.with->thread, conflict.others ? " and others" : "",
                 conflict.with->group - 1);
        s.group->fail(
            thread, "data-race", {site, conflict.with->site, region->name, int64_t(offset)},
            "%s of byte %zu of %s '%s', %s by %s, with no barrier between", verb(access), offset,
            describe(*region), region->name, conflict.with_write ? "written" : "read", other);
    }
}

void misaligned(uintptr_t address, size_t alignment, const char* type, const void* site) {
    State& s = state();
    const Region* region = find(address, 1);
    if (!region && !s.group->stacks().holds(address)) region = nearest(address);
    const char* name = region ? region->name : kThreadMemory;
    const int64_t offset = region ? int64_t(address - region->begin) : 0;
    s.group->fail(current_fibre()->thread, "misaligned", {site, nullptr, name, offset},
                  "access to %s, which needs %zu-byte alignment, at byte %lld of %s'%s' "
                  "(address %% %zu = %zu)",
                  type, alignment, static_cast<long long>(offset), region ? describe(*region) : "",
                  name, alignment, size_t(address % alignment));
}

void combine(msl_combine combine, void* const* lanes) {
    state().combining = true;
    combine(lanes);
    state().combining = false;
}

void index_out_of_bounds(int64_t index, const char* type, const void* site) {
    // The compiler quotes the type's name.
    char name[96];
    snprintf(name, sizeof name, "%s", type + (*type == '\''));
    name[strcspn(name, "'")] = 0;
    state().group->fail(current_fibre()->thread, "out-of-bounds", {site, nullptr, name, index},
                        "index %lld into an array of type '%s'", static_cast<long long>(index),
                        name);
}

}  // namespace checker
}  // namespace msl
