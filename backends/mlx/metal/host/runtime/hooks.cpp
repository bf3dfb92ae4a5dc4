// What g++'s sanitizers call. The sanitizers' own run times are not linked: these functions take
// their names, so every access a kernel makes passes through the checker first.
#include <cstddef>
#include <cstdint>

#include "checker.h"

using msl::checker::Access;

#define MSL_SITE __builtin_return_address(0)

extern "C" {

// ---- -fsanitize=thread

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

#define MSL_ACCESS(bytes)                                                         \
    void __tsan_read##bytes(void* address) {                                      \
        msl::checker::access(uintptr_t(address), bytes, Access::read, MSL_SITE);  \
    }                                                                             \
    void __tsan_write##bytes(void* address) {                                     \
        msl::checker::access(uintptr_t(address), bytes, Access::write, MSL_SITE); \
    }
MSL_ACCESS(1)
MSL_ACCESS(2)
MSL_ACCESS(4)
MSL_ACCESS(8)
MSL_ACCESS(16)

void __tsan_read_range(void* address, size_t bytes) {
    msl::checker::access(uintptr_t(address), bytes, Access::read, MSL_SITE);
}
void __tsan_write_range(void* address, size_t bytes) {
    msl::checker::access(uintptr_t(address), bytes, Access::write, MSL_SITE);
}

// Threads are fibres of one OS thread, so plain operations are atomic here. The memory order
// arguments are Metal's only one, relaxed.
#define MSL_ATOMIC(bits, type)                                                                  \
    type __tsan_atomic##bits##_load(const volatile type* object, int) {                         \
        msl::checker::access(uintptr_t(object), sizeof(type), Access::atomic_update, MSL_SITE); \
        return *object;                                                                         \
    }                                                                                           \
    void __tsan_atomic##bits##_store(volatile type* object, type value, int) {                  \
        msl::checker::access(uintptr_t(object), sizeof(type), Access::atomic_store, MSL_SITE);  \
        *object = value;                                                                        \
    }                                                                                           \
    type __tsan_atomic##bits##_exchange(volatile type* object, type value, int) {               \
        msl::checker::access(uintptr_t(object), sizeof(type), Access::atomic_update, MSL_SITE); \
        const type old = *object;                                                               \
        *object = value;                                                                        \
        return old;                                                                             \
    }                                                                                           \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type* object, type* expected,    \
                                                      type value, int, int) {                   \
        msl::checker::access(uintptr_t(object), sizeof(type), Access::atomic_update, MSL_SITE); \
        if (*object != *expected) {                                                             \
            *expected = *object;                                                                \
            return 0;                                                                           \
        }                                                                                       \
        *object = value;                                                                        \
        return 1;                                                                               \
    }
MSL_ATOMIC(32, uint32_t)
MSL_ATOMIC(64, uint64_t)

// ---- -fsanitize=alignment,bounds; data layouts of the compiler's interface

struct MslSourceLocation {
    const char* file;
    uint32_t line;
    uint32_t column;
};
struct MslTypeDescriptor {
    uint16_t kind;
    uint16_t info;
    char name[1];
};
struct MslTypeMismatch {
    MslSourceLocation location;
    const MslTypeDescriptor* type;
    unsigned char log_alignment;
    unsigned char check;
};
struct MslOutOfBounds {
    MslSourceLocation location;
    const MslTypeDescriptor* array_type;
    const MslTypeDescriptor* index_type;
};

void __ubsan_handle_type_mismatch_v1(MslTypeMismatch* data, uintptr_t address) {
    msl::checker::misaligned(address, size_t(1) << data->log_alignment, data->type->name, MSL_SITE);
}
void __ubsan_handle_out_of_bounds(MslOutOfBounds* data, uintptr_t index) {
    msl::checker::index_out_of_bounds(int64_t(index), data->array_type->name, MSL_SITE);
}

}  // extern "C"
