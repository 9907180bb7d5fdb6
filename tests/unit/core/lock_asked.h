// One request to the table of locks, and its answer once there is one.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "routerd/core/locks.h"

namespace linkspan::core::testing {

// What became of one request.
struct Asked {
  std::shared_ptr<std::optional<Result<SetLockReply>>> answer =
      std::make_shared<std::optional<Result<SetLockReply>>>();
  OpNumber number;
  LockDone done() {
    return [answer = answer](Result<SetLockReply> result) {
      EXPECT_FALSE(answer->has_value()) << "answered twice";
      *answer = std::move(result);
    };
  }
  bool open() const { return !answer->has_value(); }
  bool granted() const { return !open() && (*answer)->ok(); }
  std::optional<Code> code() const {
    if (open() || (*answer)->ok()) return std::nullopt;
    return (*answer)->code();
  }
};

}  // namespace linkspan::core::testing
