// What the router shows at its tls:// addresses, and by whose signature it knows mounts. The files
// are read anew every second: new ones serve the next connection, those that stand go on. What is
// broken (half-written, of two pairs, out of date) is logged and changes nothing.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "linkspan/tls_files.h"
#include "routerd/rpc/bounds.h"

namespace grpc {
class ServerCredentials;
}

namespace linkspan::rpc {

class Certificates {
 public:
  // `invalid` names every problem of the files, each with its mend.
  static Result<std::unique_ptr<Certificates>> open(tls::Files files,
                                                    std::chrono::milliseconds period);
  ~Certificates();
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;

  // For one address; TLS 1.3 only. The server that uses it must not outlive this. One thread.
  std::shared_ptr<grpc::ServerCredentials> credentials();

  // Those in use; the same pointer until they change. Any thread.
  std::shared_ptr<const tls::Pems> current() const;
  bool wants_clients() const { return !files_.authorities.empty(); }

 private:
  Certificates(tls::Files files, std::shared_ptr<const tls::Pems> pems,
               std::chrono::milliseconds period);
  void run(std::chrono::milliseconds period);
  void look();

  const tls::Files files_;
  mutable std::mutex mutex_;  // a leaf
  std::condition_variable ended_;
  bool end_ = false;
  std::shared_ptr<const tls::Pems> current_;
  std::vector<std::shared_ptr<grpc::ServerCredentials>> handed_;  // gRPC's core calls them
  std::string said_;  // by the thread: what was wrong at the last look
  std::thread thread_;
};

}  // namespace linkspan::rpc
