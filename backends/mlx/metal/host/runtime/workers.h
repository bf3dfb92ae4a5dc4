// The OS threads that run threadgroups, kept from launch to launch.
#pragma once

extern "C" {

// Calls work(argument) on this thread and on up to `workers` - 1 others, and returns when all
// calls have. Where another launch has the threads, this one's work is done on this thread alone.
void msl_parallel(int workers, void (*work)(void*), void* argument);
typedef void (*msl_parallel_function)(int workers, void (*work)(void*), void* argument);

}  // extern "C"
