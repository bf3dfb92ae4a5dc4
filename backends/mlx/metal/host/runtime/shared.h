// What all libraries of a process share, of either build: the threads and stacks of the first one.
#pragma once

#include "fibre.h"

extern "C" {

struct msl_shared {
    // See workers.h.
    void (*parallel)(int workers, void (*work)(void*), void* argument);
    // Stacks for the threads of one threadgroup, which nobody else uses until they are given back.
    msl::StackPool* (*take_stacks)(bool guarded);
    void (*give_stacks)(msl::StackPool* stacks);
};

}  // extern "C"
