// Every bound in one place, with its unit. Both sides of a boundary check them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace linkspan::limits {

using namespace std::chrono_literals;

// Of inodes, versions, changes, operations, revocations: what a database's bigint holds.
inline constexpr uint64_t kLastNumber = INT64_MAX;
inline constexpr size_t kNameBytes = 255;      // of a name; any byte but NUL and '/'
inline constexpr size_t kSymlinkBytes = 4095;  // PATH_MAX less the NUL
inline constexpr size_t kPathBytes = 4095;
inline constexpr uint32_t kLinks = 65000;            // of a node (ext4's bound)
inline constexpr uint64_t kFileBytes = 16ull << 30;  // of a file
inline constexpr size_t kChunkBytes = 64 << 10;      // content is stored in pieces of this size
inline constexpr size_t kInlineContent = 64 << 10;   // files up to this travel with their node
inline constexpr size_t kReadBytes = 1 << 20;        // of one Read
inline constexpr size_t kExtentBytes = 1 << 20;      // of one extent in a commit
inline constexpr size_t kMessageBytes = 4 << 20;     // of a gRPC message, both directions
inline constexpr size_t kPageBytes = 1 << 20;        // of one ReadDir page with inline content
inline constexpr size_t kDataRanges = 16384;         // of one DataRanges
inline constexpr uint32_t kPageEntries = 4096;       // of one ReadDir page
inline constexpr size_t kXattrNameBytes = 255;
inline constexpr size_t kXattrValueBytes = 64 << 10;   // XATTR_SIZE_MAX
inline constexpr size_t kXattrTotalBytes = 256 << 10;  // of one node, names and values
inline constexpr size_t kDirtyMemoryBytes = 8 << 20;   // per file; beyond it a temporary file
inline constexpr size_t kContentCacheBytes = 64 << 20;
inline constexpr size_t kCachedNodes = 200000;
inline constexpr size_t kRouterQueue = 4096;  // operations that wait for a worker
inline constexpr size_t kTriesJoined = 64;    // tries of one mutation that wait for its answer
inline constexpr size_t kRevocationQueue =
    65536;  // unacknowledged per session; then its caches end with its lease
inline constexpr size_t kSessionsPerToken = 1024;
inline constexpr size_t kInterestsPerSession =
    2 * kCachedNodes;  // remembered; beyond, some are revoked
inline constexpr uint32_t kHistoryPage = 1000;
inline constexpr uint32_t kChangesScanned = 20000;  // log entries that one Changes looks at
inline constexpr size_t kExtentsPerPart = 4096;     // of one message of a commit's stream
inline constexpr size_t kPartBytes = 1 << 20;       // of their data, beyond which a new part begins
inline constexpr size_t kMutationNodes = 8;         // in one MutationReply
inline constexpr size_t kRevokedItems = 4096;       // nodes, or names, of one revocation
inline constexpr size_t kXattrs = 4096;             // of one node
inline constexpr size_t kRoutes = 64;               // of one grant
inline constexpr size_t kPatterns = 32;             // of one route
inline constexpr size_t kGlobBytes = 512;           // of one pattern
inline constexpr size_t kAllowedNames = 32;         // globs of one pattern's `allowed`
inline constexpr uint32_t kNamesJudged = 64;        // of a node; with more it is under all rules
inline constexpr size_t kTokenBytes = 512;          // of a token's text
inline constexpr size_t kTokenDepth = 4;            // of one that was narrowed again and again
inline constexpr size_t kTokenChildren = 64;        // narrowed from one token
inline constexpr size_t kTokenFamily = 1024;     // narrowed from a configured one, also indirectly
inline constexpr size_t kReaches = 32;           // paths to which one route is narrowed
inline constexpr size_t kSources = 64;           // address ranges of one token
inline constexpr size_t kSecretBytes = 16;       // of a session's secret
inline constexpr size_t kInstanceBytes = 32;     // of a sandbox's secret, to which tokens are bound
inline constexpr size_t kLabelBytes = 255;       // principal, sandbox, tenant, client description
inline constexpr size_t kErrorTextBytes = 1024;  // of an error's message on the wire

inline constexpr std::chrono::milliseconds kLease = 5s;
inline constexpr std::chrono::milliseconds kRouteTimeout = 30s;   // unless the route says another
inline constexpr std::chrono::milliseconds kCommitDelay = 100ms;  // latest commit after a write
inline constexpr std::chrono::milliseconds kLeaseMin = 50ms, kLeaseMax = 1h;
inline constexpr std::chrono::milliseconds kRouteTimeoutMax = 24h;
inline constexpr std::chrono::milliseconds kSessionGrace = 60s;  // a lost session may be resumed

}  // namespace linkspan::limits
