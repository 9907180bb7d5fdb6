// The gRPC server over a core::Router: services, health, reflection, and a graceful end. Includes
// no gRPC itself.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "linkspan/tls_files.h"
#include "routerd/core/router.h"
#include "routerd/rpc/bounds.h"
#include "routerd/rpc/metrics.h"
#include "routerd/rpc/unix_listener.h"

namespace linkspan::rpc {

struct ServerOptions {
  // "unix:/path", "tls://host:port" or "host:port" (0: the kernel chooses)
  std::vector<std::string> listen;
  uint32_t socket_mode = 0660;  // of unix sockets
  PeerRule socket_peers;        // who may connect to them
  tls::Files tls;               // for tls:// addresses
  unsigned workers = 16;
  std::string spool_dir = "/var/tmp";
  // Is the store there? Blocks; called on a thread of its own. Health is SERVING while it is ok.
  std::function<Status()> ping = [] { return ok(); };
  // Bounds that tests make smaller.
  size_t queue = limits::kRouterQueue;
  size_t upload_memory = bounds::kUploadMemoryBytes;
  uint64_t spool_bytes = bounds::kSpoolBytes;
  std::chrono::milliseconds upload_stall = bounds::kUploadStall;
  std::chrono::milliseconds walk_stall = bounds::kWalkStall;
  std::chrono::milliseconds hello_wait = bounds::kHelloWait;
  std::chrono::milliseconds ping_period = bounds::kPing;
  std::chrono::milliseconds certificates_period = bounds::kCertificates;
};

class Server {
 public:
  // Listens when it returns. `router` must outlive the server. Errors name the address and the
  // mend.
  static Result<std::unique_ptr<Server>> start(core::Router* router, ServerOptions options);
  virtual ~Server() = default;  // as stop(0)

  // As asked for, with the real ports.
  virtual std::vector<std::string> listening() const = 0;
  virtual MetricsSnapshot metrics() const = 0;
  // Refuses new calls, waits at most `grace` for the accepted ones to be answered, ends the streams
  // with a reason, then the rest. True: everything that was accepted was answered. Idempotent; any
  // thread but a worker's.
  virtual bool stop(std::chrono::milliseconds grace) = 0;
};

// gRPC's own log lines go where ours go. Once, at start. `deaf` is told (why) when a socket accepts
// nobody any more: gRPC (1.51) gives up a listening socket for good at the first error of accept(),
// such as too many open files. Called on threads of gRPC's, perhaps more than once; must return at
// once.
void adopt_grpc_log(void (*deaf)(const std::string& why));

}  // namespace linkspan::rpc
