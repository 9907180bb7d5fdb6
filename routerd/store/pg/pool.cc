#include "routerd/store/pg/pool.h"

namespace linkspan::store::pg {

Result<Pool::Lease> Pool::checkout(Failure* why) {
  std::unique_ptr<Connection> conn;
  {
    std::unique_lock lock(mutex_);
    if (!freed_.wait_for(lock, limits_.checkout, [&] { return out_ < size_; }))
      return fail(Code::busy, "all " + std::to_string(size_) +
                                  " connections to PostgreSQL are in use; raise 'connections'");
    ++out_;
    if (!idle_.empty()) {
      conn = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (conn && conn->idle_and_alive()) return Lease(this, std::move(conn));
  conn.reset();
  auto opened = Connection::open(conninfo_, limits_, why);
  if (opened.ok()) return Lease(this, std::move(*opened));
  give_back(nullptr);
  return opened.error();
}

void Pool::give_back(std::unique_ptr<Connection> conn) {
  std::vector<std::unique_ptr<Connection>> dropped;  // closed after the lock
  {
    const std::lock_guard lock(mutex_);
    --out_;
    if (conn && !conn->lost() && conn->at_rest()) {
      conn->forget_failure();
      idle_.push_back(std::move(conn));
    } else if (conn && conn->lost()) {
      // The server went away, most likely: what lies idle is of no use either.
      dropped.swap(idle_);
    }
  }
  freed_.notify_one();
}

}  // namespace linkspan::store::pg
