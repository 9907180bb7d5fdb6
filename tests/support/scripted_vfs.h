// A Vfs whose answers a test sets call by call, and which counts the handles that it gave out. What
// is not set is answered with `unsupported`.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fusefs/vfs/vfs.h"
#include "tests/support/slowdown.h"

namespace linkspan::test {

// Something that happens once; awaited, never slept for.
class Event {
 public:
  void set() {
    std::lock_guard lock(mutex_);
    set_ = true;
    changed_.notify_all();
  }
  bool wait(std::chrono::milliseconds time = std::chrono::seconds(10) * test::kSlowdown) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, time, [this] { return set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

class ScriptedVfs final : public vfs::Vfs {
 public:
  using Caller = vfs::Caller;
  template <class T>
  using Script = std::function<T>;

  Script<Result<vfs::Entry>(const Caller&, Ino, const std::string&)> on_lookup;
  Script<Result<vfs::AttrReply>(const Caller&, Ino, std::optional<vfs::Handle>)> on_getattr;
  Script<Result<vfs::AttrReply>(const Caller&, Ino, const vfs::SetAttr&)> on_setattr;
  Script<Result<vfs::Opened>(const Caller&, Ino, int)> on_open;
  Script<Result<std::pair<vfs::Entry, vfs::Opened>>(const std::string&, uint32_t, int)> on_create;
  Script<Result<std::string>(uint64_t, size_t)> on_read;
  Script<Result<size_t>(uint64_t, std::string_view, bool)> on_write;
  Script<Result<std::vector<vfs::DirItem>>(uint64_t, size_t)> on_readdir;
  Script<Result<std::string>(const std::string&)> on_getxattr;
  Script<Result<std::vector<std::string>>()> on_listxattr;
  Script<Status(const Caller&, const std::string&)> on_unlink;
  // A lock that is queued is awaited until the test answers it, or its token fires.
  Script<Result<std::optional<OpNumber>>(const Lock&, bool wait)> on_set_lock;
  Script<Result<TestLockReply>(const Lock&)> on_test_lock;
  Script<void(const Lock&, LockDone)> on_await_lock;
  std::mutex closed_mutex;
  std::vector<uint64_t> closed_owners, released_locks;
  std::atomic<int> open_handles{0};

  Result<vfs::Entry> lookup(const Caller& c, Ino parent, const std::string& name) override {
    return on_lookup ? on_lookup(c, parent, name) : Result<vfs::Entry>(unsupported());
  }
  Result<vfs::AttrReply> getattr(const Caller& c, Ino ino,
                                 std::optional<vfs::Handle> handle) override {
    return on_getattr ? on_getattr(c, ino, handle) : Result<vfs::AttrReply>(unsupported());
  }
  Result<vfs::AttrReply> setattr(const Caller& c, Ino ino, const vfs::SetAttr& set,
                                 std::optional<vfs::Handle>) override {
    return on_setattr ? on_setattr(c, ino, set) : Result<vfs::AttrReply>(unsupported());
  }
  Result<std::string> readlink(const Caller&, Ino) override { return unsupported(); }
  Result<vfs::Entry> mknod(const Caller&, Ino, const std::string&, Kind, uint32_t) override {
    return unsupported();
  }
  Result<vfs::Entry> mkdir(const Caller&, Ino, const std::string&, uint32_t) override {
    return unsupported();
  }
  Result<vfs::Entry> symlink(const Caller&, Ino, const std::string&, const std::string&) override {
    return unsupported();
  }
  Status unlink(const Caller& c, Ino, const std::string& name) override {
    return on_unlink ? on_unlink(c, name) : Status(unsupported());
  }
  Status rmdir(const Caller&, Ino, const std::string&) override { return unsupported(); }
  Status rename(const Caller&, Ino, const std::string&, Ino, const std::string&,
                unsigned) override {
    return unsupported();
  }
  Result<vfs::Entry> link(const Caller&, Ino, Ino, const std::string&) override {
    return unsupported();
  }
  Result<vfs::Opened> open(const Caller& c, Ino ino, int flags) override {
    if (!on_open) return unsupported();
    auto opened = on_open(c, ino, flags);
    if (opened.ok()) ++open_handles;
    return opened;
  }
  Result<std::pair<vfs::Entry, vfs::Opened>> create(const Caller&, Ino, const std::string& name,
                                                    uint32_t mode, int flags) override {
    if (!on_create) return unsupported();
    auto created = on_create(name, mode, flags);
    if (created.ok()) ++open_handles;
    return created;
  }
  Result<std::string> read(const Caller&, Ino, vfs::Handle, uint64_t offset, size_t size) override {
    return on_read ? on_read(offset, size) : Result<std::string>(unsupported());
  }
  Result<size_t> write(const Caller&, Ino, vfs::Handle, uint64_t offset, std::string_view data,
                       bool append) override {
    return on_write ? on_write(offset, data, append) : Result<size_t>(unsupported());
  }
  Status flush(const Caller&, Ino, vfs::Handle) override { return ok(); }
  Status fsync(const Caller&, Ino, vfs::Handle) override { return ok(); }
  void release(Ino, vfs::Handle) override { --open_handles; }
  Status fallocate(const Caller&, Ino, vfs::Handle, int, uint64_t, uint64_t) override {
    return unsupported();
  }
  Result<std::optional<uint64_t>> seek(const Caller&, Ino, vfs::Handle, uint64_t, bool) override {
    return unsupported();
  }
  Result<size_t> copy_range(const Caller&, Ino, vfs::Handle, uint64_t, Ino, vfs::Handle, uint64_t,
                            size_t) override {
    return unsupported();
  }
  Result<vfs::Handle> opendir(const Caller&, Ino) override {
    ++open_handles;
    return vfs::Handle{1};
  }
  Result<std::vector<vfs::DirItem>> readdir(const Caller&, Ino, vfs::Handle, uint64_t offset,
                                            size_t limit) override {
    return on_readdir ? on_readdir(offset, limit)
                      : Result<std::vector<vfs::DirItem>>(unsupported());
  }
  void releasedir(Ino, vfs::Handle) override { --open_handles; }
  Result<std::string> getxattr(const Caller&, Ino, const std::string& name) override {
    return on_getxattr ? on_getxattr(name) : Result<std::string>(unsupported());
  }
  Result<std::vector<std::string>> listxattr(const Caller&, Ino) override {
    return on_listxattr ? on_listxattr() : Result<std::vector<std::string>>(unsupported());
  }
  Status setxattr(const Caller&, Ino, const std::string&, std::string, int) override {
    return unsupported();
  }
  Status removexattr(const Caller&, Ino, const std::string&) override { return unsupported(); }
  Result<StatFsReply> statfs(const Caller&, Ino) override { return StatFsReply{}; }
  Result<std::optional<OpNumber>> set_lock(const Caller&, vfs::Handle, const Lock& lock,
                                           bool wait) override {
    return on_set_lock ? on_set_lock(lock, wait) : Result<std::optional<OpNumber>>(unsupported());
  }
  void await_lock(OpNumber, const Lock& lock, std::shared_ptr<client::CancelToken> cancel,
                  LockDone done) override {
    auto once = std::make_shared<std::atomic<bool>>(false);
    const LockDone first = [once, done](const Status& status) {
      if (!once->exchange(true)) done(status);
    };
    if (on_await_lock) on_await_lock(lock, first);
    {
      const std::lock_guard guard(closed_mutex);
      awaited.push_back(cancel);
    }
    // From a thread of its own, as the real one does: the token's lock is held here.
    cancel->set([this, first] {
      const std::lock_guard guard(closed_mutex);
      cancelled.emplace_back([first] { first(fail(Code::interrupted)); });
    });
  }
  Result<TestLockReply> test_lock(const Caller&, const Lock& lock) override {
    return on_test_lock ? on_test_lock(lock) : Result<TestLockReply>(unsupported());
  }
  Status unlock_owner(const Caller&, Ino, uint64_t owner) override {
    const std::lock_guard guard(closed_mutex);
    closed_owners.push_back(owner);
    return ok();
  }
  void unlock_handle(Ino, vfs::Handle h) override {
    const std::lock_guard guard(closed_mutex);
    released_locks.push_back(h);
  }
  ~ScriptedVfs() override {
    // A token's callback holds the request, and that the token.
    for (auto& token : awaited) token->set({});
    for (auto& thread : cancelled) thread.join();
  }
  Status sync_all(const Caller&) override { return ok(); }
  void on_revoke(const Revocation&) override {}
  void on_caches_lost() override {}
  vfs::ReplyGate& reply_gate() override { return gate; }
  Stats stats() const override { return {}; }

  vfs::ReplyGate gate;
  std::vector<std::shared_ptr<client::CancelToken>> awaited;
  std::vector<std::thread> cancelled;  // under closed_mutex

 private:
  static Error unsupported() { return fail(Code::unsupported, "not scripted"); }
};

}  // namespace linkspan::test
