// Copies of buffers with nothing around them, so that an access past an end never lands in
// another buffer.
#pragma once

#include <cstddef>
#include <cstdint>

namespace msl {
namespace checker {

// Owns the copy and the inaccessible address space around it.
class GuardedCopy {
  public:
    // Copies `bytes` bytes at `from`; the copy's address has the same alignment.
    GuardedCopy(void* from, size_t bytes);
    GuardedCopy(GuardedCopy&& other) noexcept;
    ~GuardedCopy();
    GuardedCopy(const GuardedCopy&) = delete;
    GuardedCopy& operator=(const GuardedCopy&) = delete;

    void* data() const { return data_; }
    // Brings the copy's bytes back to where they came from.
    void copy_back() const;

  private:
    void* from_;
    size_t bytes_;
    char* mapping_;
    size_t mapped_;
    char* data_;
};

}  // namespace checker
}  // namespace msl
