// The OS threads that run threadgroups, kept from launch to launch.
#pragma once

namespace msl {

// Calls work(argument) on this thread and on up to `workers` - 1 others, and returns when all
// calls have. Where another launch has the threads, this one's work is done on this thread alone.
void parallel(int workers, void (*work)(void*), void* argument);

}  // namespace msl
