#include "fusefs/fuse/notifier.h"

#include <linux/fuse.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "fusefs/fuse/connection_io.h"
#include "fusefs/fuse/log.h"
#include "fusefs/fuse/lowlevel.h"
#include "linkspan/fault_points.h"

namespace linkspan::fuse {
namespace {

constexpr int32_t kNotifyIncreaseEpoch = 8;  // FUSE_NOTIFY_INC_EPOCH, not in Debian 12's headers

// Unknown to the kernel, or the connection is gone: nothing is cached there then.
bool nothing_to_drop(int result) {
  return result == 0 || result == -ENOENT || result == -ENOTCONN || result == -ENODEV ||
         result == -EPERM;
}

void complain(const char* what, int result) {
  if (!nothing_to_drop(result))
    log(LogLevel::error, std::string(what) + " refused by the kernel: " + std::strerror(-result));
}

}  // namespace

// ---- KnownInodes -------------------------------------------------------------------------------

void KnownInodes::add(uint64_t nodeid, uint64_t count) {
  Shard& s = shard(nodeid);
  std::lock_guard lock(s.mutex);
  s.references[nodeid] += count;
}

void KnownInodes::forget(uint64_t nodeid, uint64_t count) {
  Shard& s = shard(nodeid);
  std::lock_guard lock(s.mutex);
  auto it = s.references.find(nodeid);
  if (it == s.references.end()) return;
  if (it->second > count)
    it->second -= count;
  else
    s.references.erase(it);
}

uint64_t KnownInodes::references(uint64_t nodeid) const {
  const Shard& s = shard(nodeid);
  std::lock_guard lock(s.mutex);
  auto it = s.references.find(nodeid);
  return it == s.references.end() ? 0 : it->second;
}

size_t KnownInodes::size() const {
  size_t sum = 0;
  for (const Shard& s : shards_) {
    std::lock_guard lock(s.mutex);
    sum += s.references.size();
  }
  return sum;
}

std::vector<uint64_t> KnownInodes::all() const {
  std::vector<uint64_t> nodes;
  for (const Shard& s : shards_) {
    std::lock_guard lock(s.mutex);
    for (const auto& [nodeid, count] : s.references) nodes.push_back(nodeid);
  }
  return nodes;
}

// ---- Notifier ----------------------------------------------------------------------------------

class Notifier::Use {
 public:
  explicit Use(Notifier* owner) : owner_(owner) {
    std::lock_guard lock(owner_->mutex_);
    session_ = owner_->session_;
    if (session_) ++owner_->uses_;
  }
  ~Use() {
    if (!session_) return;
    std::lock_guard lock(owner_->mutex_);
    if (--owner_->uses_ == 0) owner_->idle_.notify_all();
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  explicit operator bool() const { return session_; }
  fuse_session* session() const { return session_; }

 private:
  Notifier* owner_;
  fuse_session* session_;
};

Notifier::Notifier(NotifierOptions options) : options_(options) {}

Notifier::~Notifier() {
  detach();
}

void Notifier::attach(fuse_session* session) {
  {
    std::lock_guard lock(mutex_);
    session_ = session;
  }
  if (options_.read_only)
    names_ = Names::one_by_one;
  else if (options_.allow_epoch && raise_epoch(session))
    names_ = Names::epoch;
}

void Notifier::detach() {
  std::unique_lock lock(mutex_);
  session_ = nullptr;
  names_ = Names::unavailable;
  idle_.wait(lock, [this] { return uses_ == 0; });
}

// libfuse 3.14 has no call for it: a bare header, written like any notification. It takes none of
// the kernel's directory locks, so it may run beside a pending create or rename.
bool Notifier::raise_epoch(fuse_session* session) {
  fuse_out_header header = {};
  header.len = sizeof header;
  header.error = kNotifyIncreaseEpoch;
  iovec iov{&header, sizeof header};
  return write_to_kernel(session, &iov, 1) == static_cast<ssize_t>(sizeof header);
}

void Notifier::drop_inode(Ino ino, bool content) {
  Use use(this);
  if (!use) return;
  uint64_t nodeid = to_kernel(ino);
  int result = fuse_lowlevel_notify_inval_inode(use.session(), nodeid, content ? 0 : -1, 0);
  // An entry was handed over, but the kernel's LOOKUP has not made its inode yet: age the name, so
  // that the attributes it is about to keep are asked for once more.
  if (result == -ENOENT && options_.allow_epoch && known_.references(nodeid) > 0)
    raise_epoch(use.session());
  complain("dropping an inode", result);
}

void Notifier::drop_attributes(Ino ino) {
  drop_inode(ino, false);
}

void Notifier::drop_content(Ino ino) {
  drop_inode(ino, true);
}

void Notifier::drop_names(const std::vector<RevokedName>& names) {
  if (names.empty() || planted(Fault::no_name_invalidation)) return;
  Use use(this);
  Names how = names_.load();
  if (!use || how == Names::unavailable) return;  // then the kernel keeps no names
  if (how == Names::epoch) {
    if (!raise_epoch(use.session())) complain("raising the epoch", -errno);
    return;
  }
  for (const RevokedName& name : names)
    complain("dropping a name",
             fuse_lowlevel_notify_inval_entry(use.session(), to_kernel(name.parent),
                                              name.name.data(), name.name.size()));
}

bool Notifier::can_drop_names() const {
  return names_.load() != Names::unavailable;
}

void Notifier::drop_everything() {
  Use use(this);
  if (!use) return;
  // Names by the epoch on read-only routes too: the kernel is not asked which names it holds.
  if (options_.allow_epoch) raise_epoch(use.session());
  for (uint64_t nodeid : known_.all())
    complain("dropping an inode", fuse_lowlevel_notify_inval_inode(use.session(), nodeid, 0, 0));
  complain("dropping the root", fuse_lowlevel_notify_inval_inode(use.session(), 1, 0, 0));
}

}  // namespace linkspan::fuse
