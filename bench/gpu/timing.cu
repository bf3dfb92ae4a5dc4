#include "timing.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

std::string& current_work() {
    static std::string work = "start";
    return work;
}

void fail(cudaError_t error, const char* call, int line) {
    printf("\nFAILED: %s: %s (%s, line %d)\n", current_work().c_str(), cudaGetErrorString(error),
           call, line);
    fflush(stdout);
    _Exit(2);
}

std::vector<char> read_file(const char* path) {
    FILE* file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    fseek(file, 0, SEEK_END);
    std::vector<char> data(ftell(file));
    rewind(file);
    const size_t read = fread(data.data(), 1, data.size(), file);
    fclose(file);
    if (read != data.size()) {
        fprintf(stderr, "%s: short read\n", path);
        exit(2);
    }
    return data;
}

namespace {

constexpr int kThreads = 256;
constexpr int kUnroll = 8;
int g_blocks = 132 * 8;

__global__ void read_all(const uint4* data, size_t count, unsigned* never) {
    unsigned sum = 0;
    const size_t stride = size_t(gridDim.x) * kThreads;
    size_t i = size_t(blockIdx.x) * kThreads + threadIdx.x;
    for (; i + (kUnroll - 1) * stride < count; i += kUnroll * stride) {
        uint4 v[kUnroll];
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) v[u] = data[i + u * stride];
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) sum ^= v[u].x ^ v[u].y ^ v[u].z ^ v[u].w;
    }
    for (; i < count; i += stride) sum ^= data[i].x ^ data[i].y ^ data[i].z ^ data[i].w;
    // Data-dependent, so that nothing is optimized away; the data are never such.
    if (sum == 0x9E3779B9u && gridDim.x == 1) *never = sum;
}

}  // namespace

void plain_read(const Memory& memory, cudaStream_t stream) {
    const size_t count = memory.bytes / sizeof(uint4);
    const size_t useful = (count + kThreads - 1) / kThreads;
    const unsigned blocks = unsigned(std::max<size_t>(1, std::min<size_t>(useful, g_blocks)));
    read_all<<<blocks, kThreads, 0, stream>>>(memory.as<uint4>(), count, nullptr);
    CHECK(cudaGetLastError());
}

double plain_read_bandwidth() {
    current_work() = "plain read";
    const size_t bytes = size_t(1) << 30;
    Memory memory(bytes);
    CHECK(cudaMemset(memory.data, 1, bytes));
    int processors;
    CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, 0));
    double best = 0;
    int best_blocks = g_blocks;
    for (int waves : {2, 4, 8, 16, 32, 64}) {
        g_blocks = processors * waves;
        const Timing time =
            time_rotating([&](size_t, cudaStream_t s) { plain_read(memory, s); }, 1);
        if (bytes / time.median > best) {
            best = bytes / time.median;
            best_blocks = g_blocks;
        }
    }
    g_blocks = best_blocks;
    return best;
}

Timing time_rotating(const std::function<void(size_t, cudaStream_t)>& launch, size_t buffers) {
    cudaStream_t stream;
    cudaEvent_t start, stop;
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreate(&stop));
    const auto seconds_of = [&](const std::function<void()>& work) {
        CHECK(cudaEventRecord(start, stream));
        work();
        CHECK(cudaEventRecord(stop, stream));
        CHECK(cudaEventSynchronize(stop));
        float milliseconds;
        CHECK(cudaEventElapsedTime(&milliseconds, start, stop));
        return milliseconds * 1e-3;
    };
    // About 10 ms of launches in a graph, every buffer equally often.
    const size_t probes = std::max<size_t>(buffers, 4);
    double probe = 0;
    for (int warm = 0; warm < 2; ++warm) {
        probe = seconds_of([&] {
                    for (size_t n = 0; n < probes; ++n) launch(n % buffers, stream);
                }) /
                probes;
    }
    const size_t wanted = std::min<size_t>(4000, size_t(10e-3 / probe) + 1);
    const size_t launches = (wanted + buffers - 1) / buffers * buffers;
    cudaGraph_t graph;
    cudaGraphExec_t run;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    for (size_t n = 0; n < launches; ++n) launch(n % buffers, stream);
    CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(cudaGraphInstantiate(&run, graph, 0));
    std::vector<double> times;
    for (int repeat = 0; repeat < 10; ++repeat) {
        const double seconds = seconds_of([&] { CHECK(cudaGraphLaunch(run, stream)); }) / launches;
        if (repeat > 1) times.push_back(seconds);
    }
    CHECK(cudaGraphExecDestroy(run));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaEventDestroy(start));
    CHECK(cudaEventDestroy(stop));
    CHECK(cudaStreamDestroy(stream));
    std::sort(times.begin(), times.end());
    return {times[times.size() / 2], times.front(), times.back()};
}
