// Device memory, plain reads, and times of launches over rotating buffers.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

// What runs at the moment, for messages.
std::string& current_work();

[[noreturn]] void fail(cudaError_t error, const char* call, int line);
#define CHECK(call)                                               \
    do {                                                          \
        const cudaError_t error_ = (call);                        \
        if (error_ != cudaSuccess) fail(error_, #call, __LINE__); \
    } while (0)

constexpr size_t kRotatedBytes = 400u << 20;

struct Memory {
    void* data = nullptr;
    size_t bytes = 0;

    explicit Memory(size_t size) : bytes(size) { CHECK(cudaMalloc(&data, size)); }
    Memory(Memory&& from) : data(from.data), bytes(from.bytes) { from.data = nullptr; }
    Memory(const Memory&) = delete;
    ~Memory() { cudaFree(data); }
    void fill(const void* from) { CHECK(cudaMemcpy(data, from, bytes, cudaMemcpyHostToDevice)); }
    template <typename T>
    T* as() const {
        return static_cast<T*>(data);
    }
};

std::vector<char> read_file(const char* path);

// Reads all of `memory` and throws it away.
void plain_read(const Memory& memory, cudaStream_t stream);

// Bytes a second of reads of 1 GiB; also settles which launch plain_read uses.
double plain_read_bandwidth();

struct Timing {
    double median, fastest, slowest;  // seconds of one launch
};

// Times launch(n) for n = 0, 1, ..., buffers - 1, 0, ...
Timing time_rotating(const std::function<void(size_t n, cudaStream_t stream)>& launch,
                     size_t buffers);
