// What gpu_bench measures; ../build.py generates the values (plan.cpp) and the data they point into.
#pragma once

#include <cstddef>
#include <cstdint>

struct Blob {
    size_t offset;  // in the data file
    size_t bytes;
};

// Rows of a weight: `parts` arrays with the same rows (MLX's packed, scales, biases). On the GPU,
// row n of each is row base_row(n) of the blob.
struct Matrix {
    const char* name;
    int parts;
    const char* part_names[3];
    Blob blobs[3];
    size_t row_bytes[3];
};

constexpr int kBaseRows = 64;

// Activations and what they make of the base rows: float64 (rows of x, kBaseRows), exact products
// and the largest errors that the accuracy rule allows.
struct Activations {
    const char* kind;
    Blob x;
    Blob exact[2];  // of Case::matrices
    Blob bounds[2];
};

struct Argument {
    enum Kind { X, OUT, PART, INTS, LONGS } kind;
    int part;           // PART: of the matrix
    int64_t values[8];  // INTS, LONGS
};

struct Launch {
    const char* contender;
    const void* (*kernel)();
    unsigned grid[3];
    unsigned threadgroup[3];
    int matrix;
    int count;
    Argument arguments[12];
};

constexpr int kKinds = 2;

struct Case {
    const char* type;
    const char* dtype;
    const char* operation;
    int rows, outputs, columns;
    Matrix matrices[2];
    Activations activations[kKinds];
    int count;
    Launch launches[32];
};

extern const Case kCases[];
extern const int kCaseCount;
