// Every bound in one place, with its unit. Both sides of a boundary check them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace linkspan::limits {

using namespace std::chrono_literals;

inline constexpr size_t kNameBytes = 255;             // of a name; any byte but NUL and '/'
inline constexpr size_t kSymlinkBytes = 4095;         // PATH_MAX less the NUL
inline constexpr size_t kPathBytes = 4095;
inline constexpr uint32_t kLinks = 65000;             // of a node (ext4's bound)
inline constexpr uint64_t kFileBytes = 16ull << 30;   // of a file
inline constexpr size_t kChunkBytes = 64 << 10;       // content is stored in pieces of this size
inline constexpr size_t kInlineContent = 64 << 10;    // files up to this travel with their node
inline constexpr size_t kReadBytes = 1 << 20;         // of one Read
inline constexpr size_t kExtentBytes = 1 << 20;       // of one extent in a commit
inline constexpr size_t kMessageBytes = 4 << 20;      // of a gRPC message, both directions
inline constexpr size_t kPageBytes = 1 << 20;         // of one ReadDir page with inline content
inline constexpr uint32_t kPageEntries = 4096;        // of one ReadDir page
inline constexpr size_t kXattrNameBytes = 255;
inline constexpr size_t kXattrValueBytes = 64 << 10;  // XATTR_SIZE_MAX
inline constexpr size_t kXattrTotalBytes = 256 << 10; // of one node, names and values
inline constexpr size_t kDirtyMemoryBytes = 8 << 20;  // buffered per file before an unlinked temp file
inline constexpr size_t kContentCacheBytes = 64 << 20;
inline constexpr size_t kCachedNodes = 200000;
inline constexpr size_t kRouterQueue = 4096;          // operations that wait for a worker
inline constexpr size_t kRevocationQueue = 65536;     // unacknowledged per session, then it is ended
inline constexpr size_t kSessionsPerToken = 1024;
inline constexpr uint32_t kHistoryPage = 1000;

inline constexpr std::chrono::milliseconds kLease = 5s;
inline constexpr std::chrono::milliseconds kRouteTimeout = 30s;
inline constexpr std::chrono::milliseconds kCommitDelay = 100ms;  // latest commit after a write
inline constexpr std::chrono::milliseconds kSessionGrace = 60s;   // a lost session may be resumed

}  // namespace linkspan::limits
