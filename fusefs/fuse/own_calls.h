// What the mount asks of itself through the kernel, so that the kernel raises inotify events for
// what others changed (visit.h): requests of one thread of this process, told by the thread id that
// the kernel writes into each, which no other process can have. They are answered here, at once,
// on the thread that reads the connection: from the caches or with EAGAIN, never after a wait,
// since the kernel holds a directory's lock meanwhile (DESIGN 4a). They change nothing, and what
// they pretend nobody else is told.
#pragma once

#include <linux/fuse.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "fusefs/client/router_client.h"
#include "fusefs/fuse/notifier.h"
#include "fusefs/vfs/vfs.h"

struct fuse_session;

namespace linkspan::fuse {

class OwnCalls {
 public:
  // Neither is owned; both outlive this.
  OwnCalls(vfs::Vfs* vfs, Notifier* notifier);

  // ---- by the thread that makes the calls ----

  // From now on requests of the calling thread are ours.
  void begin();
  void end();

  // A directory that only this thread finds in the route's root. In it each node but directories
  // has its number as a name (see reach).
  const std::string& passage() const { return passage_; }
  // The node may be reached through the passage, by the attributes that the caches have, or, when
  // it has lost its last name, by those it had.
  void reach(Ino ino, std::optional<Attr> lost = std::nullopt);
  // This name is said to be absent, or to lead to a node of these attributes; with `phantom` to one
  // that the kernel has never seen. `dir` 0: whatever the directory.
  void pretend_absent(Ino dir, const std::string& name);
  void pretend_there(Ino dir, const std::string& name, Attr attr, bool phantom);
  void close_passage();  // the kernel shall find it gone
  void plain();          // nothing is pretended, nothing can be reached

  // ---- by the connection's loop; any thread ----

  bool takes(const fuse_in_header& header, size_t size) const;
  // A whole, well formed message.
  void answer(fuse_session* session, const void* message);

 private:
  struct Pretence {
    Ino dir;
    std::string name;
    std::optional<Attr> attr;  // none: absent
    uint64_t nodeid = 0;
    bool asked = false;  // by the kernel; else it goes on with what it found itself
  };
  class Reply;

  void look_up(Reply& reply, uint64_t parent, const std::string& name);
  void make(Reply& reply, uint64_t parent, const std::string& name);
  void remove(Reply& reply, uint64_t parent, const std::string& name);
  void rename(Reply& reply, uint64_t to, const std::string& to_name);
  void attributes(Reply& reply, uint64_t nodeid, bool statx);
  void entry_now(Reply& reply, const Result<vfs::Entry>& entry);
  bool pretends(uint64_t parent, const std::string& name, Pretence* found);
  vfs::Caller caller() { return {.uid = uid_, .gid = gid_, .tid = 0, .cancel = &at_once_}; }
  Attr phantom_directory() const;

  vfs::Vfs* const vfs_;
  Notifier* const notifier_;
  const uint32_t uid_, gid_;
  const std::string passage_;
  client::CancelToken at_once_;  // cancelled: what is not known is not waited for
  std::atomic<uint32_t> thread_{0};

  mutable std::mutex mutex_;  // leaf; of what follows
  bool open_ = false;         // the passage
  std::optional<Pretence> pretence_;
  Ino reached_;
  std::optional<Attr> lost_;
  uint64_t phantoms_ = 0;
};

}  // namespace linkspan::fuse
