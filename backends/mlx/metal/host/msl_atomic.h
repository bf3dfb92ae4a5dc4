// Relaxed atomics of <metal_atomic>.
#pragma once

#include "msl_scalar.h"

namespace msl {
// Keeps an argument out of template deduction: atomic_store_explicit(&atomic_uint, 1, ...).
template <typename T>
using operand = std::enable_if_t<true, T>;
}  // namespace msl

namespace metal {

enum memory_order { memory_order_relaxed };

template <typename T>
struct atomic {
    T value;
};
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<float> atomic_float;

template <typename T>
MSL_FN T atomic_load_explicit(const atomic<T>* object, memory_order) {
    T value;
    __atomic_load(&object->value, &value, __ATOMIC_RELAXED);
    return value;
}
template <typename T>
MSL_FN void atomic_store_explicit(atomic<T>* object, msl::operand<T> value, memory_order) {
    __atomic_store(&object->value, &value, __ATOMIC_RELAXED);
}
template <typename T>
MSL_FN T atomic_exchange_explicit(atomic<T>* object, msl::operand<T> value, memory_order) {
    T old;
    __atomic_exchange(&object->value, &value, &old, __ATOMIC_RELAXED);
    return old;
}
template <typename T>
MSL_FN bool atomic_compare_exchange_weak_explicit(atomic<T>* object, T* expected,
                                                  msl::operand<T> desired, memory_order,
                                                  memory_order) {
    return __atomic_compare_exchange(&object->value, expected, &desired, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED);
}

#define MSL_ATOMIC_FETCH(name, expression)                                                        \
    template <typename T>                                                                         \
    MSL_FN T atomic_fetch_##name##_explicit(atomic<T>* object, msl::operand<T> b, memory_order) { \
        T a = atomic_load_explicit(object, memory_order_relaxed);                                 \
        while (!atomic_compare_exchange_weak_explicit(                                            \
            object, &a, T(expression), memory_order_relaxed, memory_order_relaxed)) {             \
        }                                                                                         \
        return a;                                                                                 \
    }
MSL_ATOMIC_FETCH(add, a + b)
MSL_ATOMIC_FETCH(sub, a - b)
MSL_ATOMIC_FETCH(min, b < a ? b : a)
MSL_ATOMIC_FETCH(max, a < b ? b : a)
MSL_ATOMIC_FETCH(and, a& b)
MSL_ATOMIC_FETCH(or, a | b)
MSL_ATOMIC_FETCH(xor, a ^ b)
#undef MSL_ATOMIC_FETCH

}  // namespace metal
