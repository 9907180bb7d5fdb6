// The file of a listening unix socket. A lock beside it ("PATH.lock") says whether its router
// lives: the kernel drops the lock with the process, so that a stale socket is told from a living
// one even when the living one is stopped or too busy to accept.
#pragma once

#include <memory>
#include <string>

#include "linkspan/error.h"

namespace linkspan::rpc {

class SocketFile {
 public:
  // Takes the lock and removes a dead router's socket. Errors say what is wrong with the path and
  // the mend: a living router, another kind of file, a directory that is missing or not writable.
  static Result<std::unique_ptr<SocketFile>> claim(const std::string& path);
  // Gives the lock up; the socket itself is removed by who made it. The lock's file stays: removing
  // it would let two routers hold two locks of one name.
  ~SocketFile();
  SocketFile(const SocketFile&) = delete;
  SocketFile& operator=(const SocketFile&) = delete;

  Status set_mode(uint32_t mode) const;  // once it listens

 private:
  SocketFile(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  const std::string path_;
  const int lock_;
};

}  // namespace linkspan::rpc
