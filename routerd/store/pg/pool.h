// A bounded pool of connections, opened when they are needed and thrown away when they fail.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "routerd/store/pg/connection.h"

namespace linkspan::store::pg {

// Threads: any. A Lease belongs to one thread.
class Pool {
 public:
  Pool(std::string conninfo, unsigned size, Limits limits)
      : conninfo_(std::move(conninfo)), limits_(limits), size_(size == 0 ? 1 : size) {}
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Returns the connection when it dies, or drops it if it is lost.
  class Lease {
   public:
    Lease(Pool* pool, std::unique_ptr<Connection> conn) : pool_(pool), conn_(std::move(conn)) {}
    Lease(Lease&& other) noexcept = default;
    Lease& operator=(Lease&& other) = delete;
    ~Lease() {
      if (conn_) pool_->give_back(std::move(conn_));
    }
    Connection& operator*() { return *conn_; }
    Connection* operator->() { return conn_.get(); }

   private:
    Pool* pool_;
    std::unique_ptr<Connection> conn_;
  };

  // Waits up to Limits::checkout for a free place (`busy`), then opens a connection if none lies
  // there; `why` tells the retry policy about a failed opening.
  Result<Lease> checkout(Failure* why);
  const Limits& limits() const { return limits_; }
  const std::string& conninfo() const { return conninfo_; }

 private:
  void give_back(std::unique_ptr<Connection> conn);

  const std::string conninfo_;
  const Limits limits_;
  const unsigned size_;
  std::mutex mutex_;  // guards what follows; held for no input or output, no lock is taken under it
  std::condition_variable freed_;
  unsigned out_ = 0;                               // leases that exist
  std::vector<std::unique_ptr<Connection>> idle_;  // the last used at the end
};

}  // namespace linkspan::store::pg
