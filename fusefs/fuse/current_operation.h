// What the kernel sent, for the callbacks that need more of it than libfuse 3.14 passes on.
#pragma once

#include <cstdint>

namespace linkspan::fuse {

// The operation of the message whose callback runs on this thread; 0 outside of one.
uint32_t current_operation();

// By the loop, around a callback.
class CurrentOperation {
 public:
  explicit CurrentOperation(uint32_t opcode);
  ~CurrentOperation();
  CurrentOperation(const CurrentOperation&) = delete;
  CurrentOperation& operator=(const CurrentOperation&) = delete;
};

}  // namespace linkspan::fuse
