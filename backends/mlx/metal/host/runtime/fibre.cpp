#include "fibre.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

// The callee-saved registers of each ABI. Floating-point control registers are not switched: no
// kernel changes them.
#if defined(__x86_64__)
asm(R"(
.text
.globl msl_switch
.hidden msl_switch
.type msl_switch,@function
msl_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  leaq 1f(%rip), %rdx
  pushq %rdx
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %rdx
  jmpq *%rdx
1:
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size msl_switch,.-msl_switch
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl msl_switch
.hidden msl_switch
.type msl_switch,%function
msl_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size msl_switch,.-msl_switch
)");
#else
#error "the Metal host runtime has fibres for x86-64 and aarch64"
#endif

namespace msl {

namespace {
constexpr size_t kMappedBytes = kSlotBytes * (kMaxThreads + 1);
}  // namespace

StackPool::StackPool(bool guarded) : guarded_(guarded), touched_(0) {
    // One slot more than needed, to align the first.
    mapping_ = mmap(nullptr, kMappedBytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping_ == MAP_FAILED) {
        perror("metal host runtime: cannot reserve stacks");
        abort();
    }
    const uintptr_t address = reinterpret_cast<uintptr_t>(mapping_);
    begin_ = (address + kSlotBytes - 1) / kSlotBytes * kSlotBytes;
}

StackPool::~StackPool() { munmap(mapping_, kMappedBytes); }

void* StackPool::prepare(uint32_t number, Threadgroup* group, void (*entry)()) {
    const uintptr_t slot = begin_ + kSlotBytes * number;
    if (number == touched_) {
        ++touched_;
        if (guarded_ && mprotect(reinterpret_cast<void*>(slot), kGuardBytes, PROT_NONE)) {
            perror("metal checker: cannot guard a stack");
            abort();
        }
    }
    Fibre* fibre = fibre_at(slot);
    fibre->group = group;
    // The stack begins below the record.
#if defined(__x86_64__)
    // The address to go on at, then as after a call the caller's (null) one, so that the stack has
    // the ABI's alignment on entry.
    void** slots = reinterpret_cast<void**>(fibre) - 2;
    slots[0] = reinterpret_cast<void*>(entry);
    slots[1] = nullptr;
#elif defined(__aarch64__)
    void** slots = reinterpret_cast<void**>(fibre) - 20;
    for (int i = 0; i < 20; ++i) slots[i] = nullptr;
    slots[11] = reinterpret_cast<void*>(entry);  // x30, the link register
#endif
    return slots;
}

}  // namespace msl
