// The bounds of the gRPC front, each with its unit. What both halves must know is in
// proto/linkspan/limits.h.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "linkspan/limits.h"

namespace linkspan::rpc::bounds {

using namespace std::chrono_literals;

inline constexpr size_t kUploadMemoryBytes = 4 << 20;     // of one upload, then it goes to disk
inline constexpr size_t kUploadsMemoryBytes = 256 << 20;  // of all uploads together
inline constexpr uint64_t kSpoolBytes = 64ull << 30;      // on disk, all uploads together
inline constexpr size_t kSpoolQueue = 1024;               // parts that wait to be written to disk
inline constexpr unsigned kSpoolThreads = 2;
// Under way at once: uploads, streams of sessions (one counts, the others end or await their
// hello), prefetches. A tenant has as many as leave others theirs.
inline constexpr size_t kUploads = 1024, kTenantUploads = 512, kSessionUploads = 128;
inline constexpr size_t kTenantStreams = 65536, kSessionStreams = 16;
inline constexpr size_t kTenantWalks = 64, kSessionWalks = 4;
inline constexpr unsigned kTenantSpoolParts = 2;  // a tenant has 1 / so much of the spool
inline constexpr std::chrono::milliseconds kUploadStall = 30s;  // between two parts
inline constexpr std::chrono::milliseconds kWalkStall = 30s;    // until a page was taken
inline constexpr std::chrono::milliseconds kHelloWait =
    10s;                                                    // a connection, a stream's first frame
inline constexpr std::chrono::milliseconds kSweep = 500ms;  // how often stalls are looked for
inline constexpr std::chrono::milliseconds kEndDrain =
    5s;  // for the last frames of an ended stream
inline constexpr std::chrono::milliseconds kStopGrace = 10s;     // for what was accepted
inline constexpr std::chrono::milliseconds kPing = 2s;           // between two health checks
inline constexpr std::chrono::milliseconds kCertificates = 1s;   // between two looks at the files
inline constexpr int kConcurrentStreams = 1024;                  // calls at once on one connection
inline constexpr std::chrono::milliseconds kClientPing = 500ms;  // least time between client pings
inline constexpr std::chrono::milliseconds kServerPing = 20s;    // to a silent client
inline constexpr std::chrono::milliseconds kServerPingTimeout = 10s;
inline constexpr uint64_t kPrefetchBytes = 256 << 20;  // of one Prefetch, whatever was asked
inline constexpr uint32_t kPrefetchNodes = 200'000;

}  // namespace linkspan::rpc::bounds
