// What the checked run remembers of each byte, and the rule that says when two accesses race.
#pragma once

#include <cstddef>
#include <cstdint>

#include "checker.h"

namespace msl {
namespace checker {

// The running thread's place in the order that barriers make. Two accesses of one threadgroup are
// ordered if a threadgroup barrier lies between them (a later epoch), or a simdgroup barrier and
// both threads are of one simdgroup; threadgroups are never ordered. Barriers order only the kind
// of memory they name.
struct Now {
    enum Kind { device = 0, threadgroup = 1 };  // bit numbers of metal::mem_flags
    uint32_t group = 0;                         // number of the threadgroup + 1
    uint32_t thread = 0;
    uint32_t threadgroup_epoch[2] = {0, 0};
    uint32_t simdgroup_epoch[2] = {0, 0};
};

// An access that was made. `group` 0: none yet.
struct Stamp {
    uint32_t group;
    uint32_t thread;
    uint32_t threadgroup_epoch;
    uint32_t simdgroup_epoch;
    const void* site;

    uint32_t simdgroup() const { return thread / 32; }
    bool before(const Stamp& later) const;
};

struct Conflict {
    const Stamp* with = nullptr;
    bool with_write = false;
    bool others = false;
};

// Owns a cell for each of a buffer's bytes. Zeros are a valid cell, "never touched": pages of cells
// that nobody touches cost nothing.
class Shadow {
  public:
    struct Cell {
        Stamp write;
        Stamp read;  // the latest one; `readers` tells of the ones it replaced
        enum Readers : uint8_t { one, same_simdgroup, other_simdgroup, other_threadgroup } readers;
        bool write_atomic;
        bool atomic_writers;  // several threads have written, all atomically

        // Races with what is remembered? If not, remembers the access.
        Conflict check(const Now& now, int kind, Access access, const void* site);

      private:
        Conflict find(const Stamp& stamp, Access access) const;
        void remember_read(const Stamp& stamp);
        void remember_write(const Stamp& stamp, bool atomic);
    };

    explicit Shadow(size_t bytes);
    Shadow(Shadow&& other) noexcept;
    ~Shadow();
    Shadow(const Shadow&) = delete;
    Shadow& operator=(const Shadow&) = delete;

    Cell& at(size_t offset) { return cells_[offset]; }
    void forget(size_t bytes);

    struct Unwritten {
        size_t bytes;
        size_t first;
    };
    Unwritten unwritten() const;

  private:
    size_t bytes_;
    Cell* cells_;
};

}  // namespace checker
}  // namespace msl
