// gpu_bench: times every launch of the plan and compares its results with the exact ones.
//
//   gpu_bench DATA RESULTS.json [WORD...]     WORDs select cases or contenders that hold them all
//
// Weights rotate over more than 400 MB, far beyond the L2 cache. A time is the median of repeated
// CUDA graphs of launches, divided by their number: no launch overhead of the host in it.
// Exit status: 0 when all of ours keep the accuracy rule, 1 when not, 2 on a CUDA error.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "plan.h"
#include "timing.h"

namespace {

std::vector<char> g_data;

const char* bytes_of(const Blob& blob) {
    if (blob.offset + blob.bytes > g_data.size()) {
        fprintf(stderr, "data file: a blob ends at %zu, the file at %zu\n",
                blob.offset + blob.bytes, g_data.size());
        exit(2);
    }
    return g_data.data() + blob.offset;
}

// Neighbouring rows differ, so that a kernel that mixes rows up is found.
__host__ __device__ inline unsigned base_row(size_t n) {
    return unsigned(n * 2654435761u >> 8) % kBaseRows;
}

__global__ void expand_rows(const unsigned char* base, unsigned char* rows, size_t row_bytes) {
    const size_t n = blockIdx.x;
    const unsigned char* from = base + base_row(n) * row_bytes;
    for (size_t i = threadIdx.x; i < row_bytes; i += blockDim.x) rows[n * row_bytes + i] = from[i];
}

// Copies of one matrix on the GPU.
struct Weights {
    size_t bytes = 0;  // of one copy
    std::vector<std::vector<Memory>> copies;

    Weights(const Matrix& matrix, int outputs) {
        size_t part_bytes[3];
        for (int p = 0; p < matrix.parts; ++p)
            bytes += part_bytes[p] = matrix.row_bytes[p] * outputs;
        const size_t count = std::max<size_t>(2, kRotatedBytes / bytes + 1);
        for (size_t c = 0; c < count; ++c) {
            copies.emplace_back();
            for (int p = 0; p < matrix.parts; ++p) {
                copies.back().emplace_back(part_bytes[p]);
                Memory base(matrix.blobs[p].bytes);
                base.fill(bytes_of(matrix.blobs[p]));
                expand_rows<<<outputs, 256>>>(base.as<unsigned char>(),
                                              copies.back()[p].as<unsigned char>(),
                                              matrix.row_bytes[p]);
                CHECK(cudaDeviceSynchronize());
            }
        }
    }
};

void enqueue(const Launch& launch, const std::vector<Memory>& weights, const Memory& x,
             const Memory& out, cudaStream_t stream) {
    void* pointers[12];
    int ints[12][8];
    int64_t longs[12][8];
    void* arguments[12];
    for (int i = 0; i < launch.count; ++i) {
        const Argument& argument = launch.arguments[i];
        arguments[i] = &pointers[i];
        switch (argument.kind) {
            case Argument::X:
                pointers[i] = x.data;
                break;
            case Argument::OUT:
                pointers[i] = out.data;
                break;
            case Argument::PART:
                pointers[i] = weights[argument.part].data;
                break;
            case Argument::INTS:
                std::copy_n(argument.values, 8, ints[i]);
                arguments[i] = ints[i];
                break;
            case Argument::LONGS:
                std::copy_n(argument.values, 8, longs[i]);
                arguments[i] = longs[i];
                break;
        }
    }
    const dim3 grid(launch.grid[0], launch.grid[1], launch.grid[2]);
    const dim3 block(launch.threadgroup[0], launch.threadgroup[1], launch.threadgroup[2]);
    CHECK(cudaLaunchKernel(launch.kernel(), grid, block, arguments, 0, stream));
}

double value_at(const std::vector<char>& out, const char* dtype, size_t i) {
    if (!strcmp(dtype, "float32")) return reinterpret_cast<const float*>(out.data())[i];
    const uint16_t bits = reinterpret_cast<const uint16_t*>(out.data())[i];
    if (!strcmp(dtype, "float16")) return __half2float(__ushort_as_half(bits));
    return __bfloat162float(__ushort_as_bfloat16(bits));
}

struct Accuracy {
    double worst = 0;     // largest error in units of the rule's bound
    double relative = 0;  // root of the sum of squared errors, over that of the exact results
    std::string where;
};

// Compares every output with the exact one.
Accuracy compare(const Case& c, const Activations& a, int matrix, const std::vector<char>& out) {
    const double* exact = reinterpret_cast<const double*>(bytes_of(a.exact[matrix]));
    const double* bounds = reinterpret_cast<const double*>(bytes_of(a.bounds[matrix]));
    Accuracy accuracy;
    double errors = 0, squares = 0;
    for (int m = 0; m < c.rows; ++m) {
        for (int n = 0; n < c.outputs; ++n) {
            const double value = value_at(out, c.dtype, size_t(m) * c.outputs + n);
            const size_t at = size_t(m) * kBaseRows + base_row(n);
            const double error = std::isnan(value) ? INFINITY : std::abs(value - exact[at]);
            errors += error * error;
            squares += exact[at] * exact[at];
            if (error / bounds[at] > accuracy.worst) {
                accuracy.worst = error / bounds[at];
                char text[160];
                snprintf(text, sizeof text, "%s x, row %d, output %d: %g, expected %g within %.3g",
                         a.kind, m, n, value, exact[at], bounds[at]);
                accuracy.where = text;
            }
        }
    }
    accuracy.relative = std::sqrt(errors / squares);
    return accuracy;
}

bool selected(const std::string& text, const std::vector<std::string>& words) {
    return std::all_of(words.begin(), words.end(),
                       [&](const std::string& w) { return text.find(w) != std::string::npos; });
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: gpu_bench DATA RESULTS.json [WORD...]\n");
        return 2;
    }
    g_data = read_file(argv[1]);
    const std::vector<std::string> words(argv + 3, argv + argc);
    cudaDeviceProp device;
    CHECK(cudaGetDeviceProperties(&device, 0));
    CHECK(cudaFree(nullptr));
    const double plain = plain_read_bandwidth();
    printf("%s, plain read %.0f GB/s\n\n", device.name, plain / 1e9);
    printf("%-5s %-9s %4s %15s  %-28s %10s %9s %7s %7s  %9s  %s\n", "type", "operation", "M",
           "N x K", "contender", "us", "GB/s", "% read", "/ ours", "max error", "check");

    FILE* json = fopen(argv[2], "w");
    if (!json) return perror(argv[2]), 2;
    fprintf(json, "{\"device\": \"%s\", \"plain_read_bytes_per_second\": %.0f,\n \"results\": [",
            device.name, plain);
    bool first = true, failed = false;
    for (int i = 0; i < kCaseCount; ++i) {
        const Case& c = kCases[i];
        char shape[64], title[160];
        snprintf(shape, sizeof shape, "%d x %d", c.outputs, c.columns);
        std::map<int, Weights> weights;
        double ours = 0;
        for (int l = 0; l < c.count; ++l) {
            const Launch& launch = c.launches[l];
            snprintf(title, sizeof title, "%s %s %s M=%d %dx%d %s", c.type, c.dtype, c.operation,
                     c.rows, c.outputs, c.columns, launch.contender);
            if (!selected(title, words)) continue;
            current_work() = title;
            auto found = weights.find(launch.matrix);
            if (found == weights.end())
                found =
                    weights.emplace(launch.matrix, Weights(c.matrices[launch.matrix], c.outputs))
                        .first;
            const Weights& w = found->second;

            const size_t item = strcmp(c.dtype, "float32") ? 2 : 4;
            std::vector<char> result(item * c.rows * c.outputs);
            Memory out(result.size());
            Accuracy accuracy;
            double relative = 0;
            for (const Activations& a : c.activations) {
                Memory x(item * c.rows * c.columns);
                x.fill(bytes_of(a.x));
                CHECK(cudaMemset(out.data, 0xFF, out.bytes));
                enqueue(launch, w.copies[0], x, out, nullptr);
                CHECK(cudaGetLastError());
                CHECK(cudaDeviceSynchronize());
                CHECK(cudaMemcpy(result.data(), out.data, out.bytes, cudaMemcpyDeviceToHost));
                const Accuracy found_here = compare(c, a, launch.matrix, result);
                if (found_here.worst >= accuracy.worst) accuracy = found_here;
                relative = std::max(relative, found_here.relative);
            }
            Memory x(item * c.rows * c.columns);
            x.fill(bytes_of(c.activations[0].x));
            const Timing time = time_rotating(
                [&](size_t n, cudaStream_t s) { enqueue(launch, w.copies[n], x, out, s); },
                w.copies.size());
            const Timing read = time_rotating(
                [&](size_t n, cudaStream_t s) {
                    for (const Memory& part : w.copies[n]) plain_read(part, s);
                },
                w.copies.size());

            const bool is_ours = !strcmp(launch.contender, "ours");
            const bool trial = !strncmp(launch.contender, "try ", 4);
            const bool right = is_ours || trial ? accuracy.worst <= 1 : relative <= 0.02;
            failed |= is_ours && !right;
            if (is_ours) ours = time.median;
            const double rate = w.bytes / time.median;
            char ratio[32] = "";
            if (ours > 0) snprintf(ratio, sizeof ratio, "%.2f", time.median / ours);
            printf("%-5s %-9s %4d %15s  %-28s %10.2f %9.0f %7.1f %7s  %9.2g  %s\n", c.type,
                   c.operation, c.rows, shape, launch.contender, time.median * 1e6, rate / 1e9,
                   100 * rate / plain, ratio, accuracy.worst,
                   right ? "ok" : ("WRONG " + accuracy.where).c_str());
            fflush(stdout);
            fprintf(
                json,
                "%s\n  {\"type\": \"%s\", \"dtype\": \"%s\", \"operation\": \"%s\", \"rows\": %d, "
                "\"outputs\": %d, \"columns\": %d, \"contender\": \"%s\", \"seconds\": %.4g, "
                "\"fastest\": %.4g, \"slowest\": %.4g, \"weight_bytes\": %zu, "
                "\"read_seconds\": %.4g, \"worst_error\": %.4g, \"relative_error\": %.4g, "
                "\"right\": %s}",
                first ? "" : ",", c.type, c.dtype, c.operation, c.rows, c.outputs, c.columns,
                launch.contender, time.median, time.fastest, time.slowest, w.bytes, read.median,
                std::min(accuracy.worst, 1e30), std::min(relative, 1e30), right ? "true" : "false");
            first = false;
        }
    }
    fprintf(json, "\n]}\n");
    fclose(json);
    if (failed) printf("\nFAILED: ours broke the accuracy rule (see WRONG above)\n");
    return failed;
}
