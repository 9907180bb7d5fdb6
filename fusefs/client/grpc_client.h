// RouterClient over gRPC: synchronous stubs with deadlines, one session stream (DESIGN 5).
//
// gRPC must not be used on both sides of a fork: a program that daemonizes makes its client after.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "fusefs/client/backoff.h"
#include "fusefs/client/lease_clock.h"
#include "fusefs/client/router_client.h"
#include "linkspan/reconnect.h"
#include "linkspan/tls_files.h"

namespace linkspan::client {

struct GrpcClientOptions {
  // "unix:/path/to.sock", "tls://host:port" or "host:port"; or several, separated by commas, of
  // routers on one database: when one does not answer, or does not serve the tenant, the next is
  // asked.
  std::string address;
  tls::Files tls;        // of tls:// addresses; without authorities: the system's
  std::string token;     // secret; kept in memory, for a fresh attach after the router lost us
  std::string instance;  // secret of the sandbox, to which a token may be bound; empty: none
  std::string client;    // for the operator's list of sessions; empty: "linkspan VERSION HOST PID"
  std::chrono::milliseconds attach_attempt =
      limits::kAttachAttempt;  // and for the stream to come up
  BackoffLimits reconnect{std::chrono::milliseconds(50), limits::kReconnectPause};
  BackoffLimits busy{std::chrono::milliseconds(2), std::chrono::milliseconds(250)};  // of calls
  uint64_t seed = 0;                                // of the jitter; 0: random
  std::function<BootTime()> boot_clock = boot_now;  // CLOCK_BOOTTIME; for tests
};

std::unique_ptr<RouterClient> make_grpc_client(GrpcClientOptions options);

}  // namespace linkspan::client
