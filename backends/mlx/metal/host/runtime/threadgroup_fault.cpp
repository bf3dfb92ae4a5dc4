// What a threadgroup says of a fault: where it happened, in which thread.
#include <dlfcn.h>

#include <cstdio>
#include <cstring>

#include "threadgroup.h"

namespace msl {

namespace {

// Return addresses are told as offsets, which addr2line takes whatever the load address.
uint64_t offset_in_library(const void* address) {
    Dl_info info;
    if (!address || !dladdr(address, &info)) return 0;
    return uint64_t(static_cast<const char*>(address) - static_cast<const char*>(info.dli_fbase));
}

}  // namespace

void Threadgroup::thread_position(uint32_t thread, uint32_t (&position)[3]) const {
    position[0] = thread % size_[0];
    position[1] = thread / size_[0] % size_[1];
    position[2] = thread / size_[0] / size_[1];
}

void Threadgroup::vrecord(uint32_t thread, const char* kind, const Place& place, const char* format,
                          va_list arguments) {
    if (launch_->faulted.exchange(true)) return;
    msl_fault& fault = *launch_->fault;
    fault.kind = kind;
    vsnprintf(fault.text, sizeof fault.text, format, arguments);
    snprintf(fault.buffer, sizeof fault.buffer, "%s", place.buffer);
    fault.offset = place.offset;
    fault.place = offset_in_library(place.site);
    fault.other_place = offset_in_library(place.other_site);
    fault.has_thread = 1;
    fault.thread = thread;
    thread_position(thread, fault.thread_position);
    memcpy(fault.threadgroup, position_, sizeof position_);
}

void Threadgroup::record(uint32_t thread, const char* kind, const Place& place, const char* format,
                         ...) {
    va_list arguments;
    va_start(arguments, format);
    vrecord(thread, kind, place, format, arguments);
    va_end(arguments);
}

void Threadgroup::fail(uint32_t thread, const char* kind, const Place& place, const char* format,
                       ...) {
    va_list arguments;
    va_start(arguments, format);
    vrecord(thread, kind, place, format, arguments);
    va_end(arguments);
    void* never;
    msl_switch(&never, main_stack_);
    __builtin_unreachable();
}

void Threadgroup::fail_exited(const char* operation, uint32_t waiting, uint32_t exited) {
    fail(waiting, "divergence", {site_of_thread_[waiting]},
         "%u thread(s) returned before %s that this one waits in", exited, operation);
}

// Called from run(): no fibre is current, so a waiting thread is named instead.
void Threadgroup::record_deadlock() {
    uint32_t at_barrier = 0, in_simdgroup = 0;
    int waiting = -1;
    for (uint32_t thread = 0; thread < started_; ++thread) {
        const Simdgroup& simdgroup = simdgroups_[thread / kLanesPerSimdgroup];
        const bool barrier = simdgroup.at_barrier & lane_bit(thread);
        const bool lane = simdgroup.arrived & lane_bit(thread);
        at_barrier += barrier;
        in_simdgroup += lane;
        if ((barrier || lane) && waiting < 0) waiting = int(thread);
    }
    uint32_t other = uint32_t(waiting);
    for (uint32_t thread = 0; thread < started_; ++thread)
        if (site_of_thread_[thread] != site_of_thread_[waiting] &&
            !(simdgroups_[thread / kLanesPerSimdgroup].exited & lane_bit(thread)))
            other = thread;
    record(uint32_t(waiting), "deadlock", {site_of_thread_[waiting], site_of_thread_[other]},
           "%u thread(s) wait at a threadgroup_barrier, %u in a simdgroup operation, "
           "%u have returned",
           at_barrier, in_simdgroup, exited_);
}

}  // namespace msl
