// The real linkspan-routerd as a child process in a directory of its own, with one tenant, a token,
// and raw stubs to it. Ended (and its directory removed) with the object.
#pragma once

#include <grpcpp/grpcpp.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "linkspan/v1/fs.grpc.pb.h"
#include "linkspan/v1/session.grpc.pb.h"
#include "tests/support/slowdown.h"

namespace linkspan::test {

struct RouterProcessOptions {
  std::string store = "mem:";
  unsigned lease_ms = 5000 * test::kSlowdown;
  std::vector<std::string> arguments;  // further ones
};

class RouterProcess {
 public:
  using Options = RouterProcessOptions;
  // Environment LINKSPAN_ROUTERD names the program. Throws std::runtime_error if it does not come
  // up.
  explicit RouterProcess(Options options = {});
  ~RouterProcess();
  RouterProcess(const RouterProcess&) = delete;
  RouterProcess& operator=(const RouterProcess&) = delete;

  void start();  // returns when it listens
  void signal(int number) const;
  void limit_descriptors(unsigned most) const;  // from now on
  int wait();               // its exit status; 128 + the signal's number if one ended it
  std::string log() const;  // what it wrote to stderr

  const std::string& dir() const { return dir_; }
  const std::string& token() const { return token_; }
  std::string unix_address() const { return "unix:" + dir_ + "/router.sock"; }
  const std::string& tcp_address() const { return tcp_; }  // another one after each start()
  // A connection of its own, whatever gRPC would like to share.
  std::shared_ptr<grpc::Channel> connect(const std::string& address) const;

 private:
  void write_config() const;

  const Options options_;
  std::string dir_, token_, token_hash_, tcp_;
  pid_t pid_ = -1;
};

// Runs the program to its end; its output and exit status.
struct Ran {
  int status = -1;
  std::string out, err;
};
Ran run_routerd(const std::vector<std::string>& arguments);

}  // namespace linkspan::test
