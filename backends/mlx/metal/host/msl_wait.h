// How a kernel waits: for the lanes of its simdgroup, for the threads of its threadgroup.
//
// In the fast build on x86-64 the switch to the next stack stands in the kernel, at each place
// that waits. There its jump nearly always goes where it went before, which the processor
// predicts; a switch in one function for all would return to a new place each time.
#pragma once

#include "msl_runtime.h"
#include "msl_scalar.h"

namespace msl {

#if defined(__x86_64__) && !defined(MSL_CHECKED)

#ifdef __AVX512F__
#error "the Metal shim cannot be compiled for AVX-512: msl::wait does not save its registers"
#endif

MSL_FN void wait(msl_wait wait) {
    if (!wait.to) return;
    // All other registers are the compiler's to save, as far as it uses them.
    asm volatile(
        "pushq %%rbp\n\t"
        "leaq 1f(%%rip), %%rcx\n\t"
        "pushq %%rcx\n\t"
        "movq %%rsp, (%%rdx)\n\t"
        "movq %%rax, %%rsp\n\t"
        "popq %%rcx\n\t"
        "jmpq *%%rcx\n"
        "1:\n\t"
        "popq %%rbp\n"
        : "+a"(wait.to), "+d"(wait.save)
        :
        : "rbx", "rcx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0",
          "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
          "xmm12", "xmm13", "xmm14", "xmm15", "memory", "cc");
}
MSL_FN void threadgroup_barrier(int flags) { wait(msl_arrive_at_threadgroup_barrier(flags)); }
MSL_FN void simdgroup_barrier(int) { wait(msl_arrive_at_exchange(nullptr, nullptr)); }
MSL_FN void exchange(void* lane, msl_combine combine) {
    wait(msl_arrive_at_exchange(lane, combine));
}

#else

MSL_FN void wait(msl_wait wait) {
    if (wait.to) msl_switch(wait.save, wait.to);
}
MSL_FN void threadgroup_barrier(int flags) { msl_threadgroup_barrier(flags); }
MSL_FN void simdgroup_barrier(int flags) { msl_simdgroup_barrier(flags); }
MSL_FN void exchange(void* lane, msl_combine combine) { msl_exchange(lane, combine); }

#endif

}  // namespace msl
