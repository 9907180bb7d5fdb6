// How long a mount may be on its way to a router: what one side does, the other waits for.
#pragma once

#include <chrono>

namespace linkspan::limits {

inline constexpr std::chrono::milliseconds kAttachAttempt{3000};   // one try at one address
inline constexpr std::chrono::milliseconds kReconnectPause{1000};  // the longest between two tries

}  // namespace linkspan::limits
