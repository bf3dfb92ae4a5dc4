#include "shadow.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace msl {
namespace checker {

namespace {

bool is_atomic(Access access) {
    return access == Access::atomic_update || access == Access::atomic_store;
}

}  // namespace

bool Stamp::before(const Stamp& later) const {
    if (group != later.group) return false;
    if (thread == later.thread) return true;
    if (threadgroup_epoch != later.threadgroup_epoch) return true;
    return simdgroup() == later.simdgroup() && simdgroup_epoch != later.simdgroup_epoch;
}

Conflict Shadow::Cell::check(const Now& now, int kind, Access access, const void* site) {
    const Stamp stamp = {now.group, now.thread, now.threadgroup_epoch[kind],
                         now.simdgroup_epoch[kind], site};
    const Conflict conflict = find(stamp, access);
    if (conflict.with) return conflict;
    if (access == Access::read)
        remember_read(stamp);
    else
        remember_write(stamp, is_atomic(access));
    return {};
}

Conflict Shadow::Cell::find(const Stamp& stamp, Access access) const {
    const bool both_atomic = is_atomic(access) && write_atomic;
    if (write.group && !both_atomic && (!write.before(stamp) || atomic_writers))
        return {&write, true, atomic_writers};
    if (access == Access::read || !read.group) return {};
    if (!read.before(stamp)) return {&read, false, readers != one};
    // The latest reader is ordered before this write; an earlier one need not be.
    const bool same_epoch = read.threadgroup_epoch == stamp.threadgroup_epoch;
    const bool race =
        readers == other_threadgroup || (same_epoch && readers == other_simdgroup) ||
        (same_epoch && readers == same_simdgroup && read.simdgroup_epoch == stamp.simdgroup_epoch);
    return race ? Conflict{&read, false, true} : Conflict{};
}

void Shadow::Cell::remember_read(const Stamp& stamp) {
    if (!read.group) {
        readers = one;
    } else if (readers == other_threadgroup || read.group != stamp.group) {
        readers = other_threadgroup;
    } else if (read.threadgroup_epoch != stamp.threadgroup_epoch) {
        readers = one;  // everyone has passed a threadgroup barrier since
    } else if (readers == other_simdgroup || read.simdgroup() != stamp.simdgroup()) {
        readers = other_simdgroup;
    } else if (read.simdgroup_epoch != stamp.simdgroup_epoch) {
        readers = one;  // this reader, unordered with other simdgroups, stands for the earlier ones
    } else if (read.thread != stamp.thread) {
        readers = same_simdgroup;
    }
    read = stamp;
}

void Shadow::Cell::remember_write(const Stamp& stamp, bool atomic) {
    atomic_writers = atomic && write_atomic && write.group && !write.before(stamp);
    write = stamp;
    write_atomic = atomic;
    read = Stamp{};
    readers = one;
}

Shadow::Shadow(size_t bytes) : bytes_(bytes), cells_(nullptr) {
    if (!bytes) return;
    void* mapping = mmap(nullptr, bytes * sizeof(Cell), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) {
        perror("metal checker: cannot reserve shadow memory");
        abort();
    }
    cells_ = static_cast<Cell*>(mapping);
}

Shadow::Shadow(Shadow&& other) noexcept : bytes_(other.bytes_), cells_(other.cells_) {
    other.bytes_ = 0;
    other.cells_ = nullptr;
}

Shadow::~Shadow() {
    if (cells_) munmap(cells_, bytes_ * sizeof(Cell));
}

void Shadow::forget(size_t bytes) { memset(static_cast<void*>(cells_), 0, bytes * sizeof(Cell)); }

Shadow::Unwritten Shadow::unwritten() const {
    Unwritten result = {0, 0};
    for (size_t i = 0; i < bytes_; ++i) {
        if (cells_[i].write.group) continue;
        if (!result.bytes++) result.first = i;
    }
    return result;
}

}  // namespace checker
}  // namespace msl
