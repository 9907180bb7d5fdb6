// Mounts of one router in one process, as a test uses them: paths instead of inodes, and a kernel
// that keeps nothing but remembers what it was told to drop.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "fusefs/vfs/vfs.h"
#include "linkspan/clock.h"
#include "linkspan/limits.h"
#include "local_client.h"
#include "tests/support/slowdown.h"

namespace linkspan::vfs::testing {

using test::LocalClient;
using test::LocalRouter;
using namespace std::chrono_literals;

// A process that lives and does nothing, for its number.
class OtherProcess {
 public:
  OtherProcess() : pid_(::fork()) {
    if (pid_ == 0)
      for (;;) ::pause();
  }
  ~OtherProcess() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  OtherProcess(const OtherProcess&) = delete;
  OtherProcess& operator=(const OtherProcess&) = delete;
  int32_t tid() const { return pid_; }

 private:
  pid_t pid_;
};

class FakeKernel final : public KernelCache {
 public:
  void drop_attributes(Ino ino) override { note(ino, &attributes_); }
  void drop_content(Ino ino) override { note(ino, &content_); }
  void drop_names(const std::vector<RevokedName>& names) override {
    if (before_names) before_names();
    std::lock_guard lock(mutex_);
    for (const RevokedName& name : names) names_.insert(name.name);
  }
  bool can_drop_names() const override { return epoch; }
  bool dropped_content(Ino ino) const { return has(ino, content_); }
  bool dropped_attributes(Ino ino) const { return has(ino, attributes_); }
  bool dropped_name(const std::string& name) const {
    std::lock_guard lock(mutex_);
    return names_.count(name) != 0;
  }
  void forget() {
    std::lock_guard lock(mutex_);
    attributes_.clear();
    content_.clear();
    names_.clear();
  }
  std::atomic<bool> epoch{true};
  std::function<void()> before_names;  // as the kernel waits for a lookup in the directory

 private:
  void note(Ino ino, std::set<Ino>* where) {
    std::lock_guard lock(mutex_);
    where->insert(ino);
  }
  bool has(Ino ino, const std::set<Ino>& where) const {
    std::lock_guard lock(mutex_);
    return where.count(ino) != 0;
  }
  mutable std::mutex mutex_;
  std::set<Ino> attributes_, content_;
  std::set<std::string> names_;
};

// Stopped, it makes the mount commit nothing by itself, however long a busy machine lets a test
// wait between two calls.
class MountClock final : public Clock {
 public:
  Time now() const override { return Clock::system().now(); }
  Steady steady() const override {
    return stopped_ ? began_ + 24h : Clock::system().steady();  // ahead, for who waits until then
  }
  void stop() { stopped_ = true; }  // before what is to stay unsaved is written

 private:
  const Steady began_ = Clock::system().steady();
  std::atomic<bool> stopped_{false};
};

struct MountOptions {
  std::string route = "memory";
  const char* token = LocalRouter::kAgent;
  Ownership ownership = Ownership::squash;
  uint32_t timeout_ms = 10000;
  std::chrono::milliseconds direct_for{0};
};

class Mount final : public client::SessionListener {
 public:
  explicit Mount(LocalRouter* router, const MountOptions& with = {}) : client(router, with.token) {
    const auto info = client.attach({}, this);
    if (!info.ok()) throw std::runtime_error(info.error().message);
    VfsOptions options;
    for (const Route& r : info->routes)
      if (r.path == with.route) options.route = r;
    options.route.timeout_ms = with.timeout_ms;
    options.ownership = with.ownership;
    options.direct_for = with.direct_for;
    options.clock = &clock;
    options.uid = 1000;
    options.gid = 1000;
    options.on_wal_refused = [this](const std::string& text) { told_of_wal.push_back(text); };
    root = options.route.root;
    auto made = make_vfs(&client, &kernel, options);
    std::lock_guard lock(mutex_);
    vfs = std::move(made);
  }
  ~Mount() override {
    client.detach();
    vfs.reset();
  }

  void on_revoke(const Revocation& revocation) override {
    if (Vfs* v = get()) v->on_revoke(revocation);
    ++revocations;
  }
  void on_caches_lost() override {
    if (Vfs* v = get()) v->on_caches_lost();
    ++losses;
  }
  void on_link(const client::LinkState&) override {}

  // -- by path
  // -------------------------------------------------------------------------------------
  Result<Entry> find(const std::string& path) {
    Entry at;
    at.attr.ino = root;
    for (const std::string& part : parts(path)) {
      LINKSPAN_TRY(at, vfs->lookup(me, at.attr.ino, part));
      if (at.negative) return fail(Code::not_found, path);
    }
    return at;
  }
  bool there(const std::string& path) { return find(path).ok(); }
  Ino ino(const std::string& path) {
    const auto found = find(path);
    EXPECT_TRUE(found.ok()) << path;
    return found.ok() ? found->attr.ino : Ino{};
  }
  Attr attr(const std::string& path) {
    const auto reply = vfs->getattr(me, ino(path), std::nullopt);
    EXPECT_TRUE(reply.ok()) << path;
    return reply.ok() ? reply->attr : Attr{};
  }
  // Like the kernel: LOOKUP, then OPEN or CREATE.
  Result<Handle> open(const std::string& path, int flags, uint32_t mode = 0644) {
    const auto [dir, name] = split(path);
    const Ino parent = ino(dir);
    LINKSPAN_TRY(const Entry entry, vfs->lookup(me, parent, name));
    if (entry.negative) {
      if ((flags & O_CREAT) == 0) return fail(Code::not_found, path);
      LINKSPAN_TRY(const auto made, vfs->create(me, parent, name, mode, flags));
      files_[made.second.handle] = made.first.attr.ino;
      kept = made.second.keep_cache;
      return made.second.handle;
    }
    if ((flags & O_CREAT) && (flags & O_EXCL)) return fail(Code::exists, path);
    LINKSPAN_TRY(const Opened opened, vfs->open(me, entry.attr.ino, flags));
    files_[opened.handle] = entry.attr.ino;
    kept = opened.keep_cache;
    return opened.handle;
  }
  Result<std::string> pread(Handle h, uint64_t offset, size_t size) {
    return vfs->read(me, files_.at(h), h, offset, size);
  }
  Status pwrite(Handle h, uint64_t offset, const std::string& data, bool append = false) {
    LINKSPAN_TRY(const size_t wrote, vfs->write(me, files_.at(h), h, offset, data, append));
    EXPECT_EQ(wrote, data.size());
    return ok();
  }
  Status flush(Handle h) { return vfs->flush(me, files_.at(h), h); }
  Status fsync(Handle h) { return vfs->fsync(me, files_.at(h), h); }
  void release(Handle h) {
    vfs->release(files_.at(h), h);
    files_.erase(h);
  }
  Status close(Handle h) {
    const auto flushed = flush(h);
    release(h);
    return flushed;
  }
  Result<std::string> read(const std::string& path) {
    LINKSPAN_TRY(const Handle h, open(path, O_RDONLY));
    std::string all;
    for (;;) {
      auto part = pread(h, all.size(), 128 << 10);
      if (!part.ok()) {
        (void)close(h);
        return part.error();
      }
      if (part->empty()) break;
      all += *part;
    }
    LINKSPAN_CHECK(close(h));
    return all;
  }
  Status write(const std::string& path, const std::string& data,
               int flags = O_WRONLY | O_CREAT | O_TRUNC) {
    LINKSPAN_TRY(const Handle h, open(path, flags));
    const auto wrote = data.empty() ? ok() : pwrite(h, 0, data, (flags & O_APPEND) != 0);
    const auto closed = close(h);
    return wrote.ok() ? closed : wrote;
  }
  Status append(const std::string& path, const std::string& data) {
    return write(path, data, O_WRONLY | O_CREAT | O_APPEND);
  }
  // An editor's atomic save.
  Status save(const std::string& path, const std::string& data) {
    const std::string temp = path + ".tmp" + std::to_string(me.tid);
    LINKSPAN_CHECK(write(temp, data, O_WRONLY | O_CREAT | O_EXCL));
    return rename(temp, path);
  }
  Status rename(const std::string& from, const std::string& to, unsigned flags = 0) {
    const auto [from_dir, from_name] = split(from);
    const auto [to_dir, to_name] = split(to);
    // The kernel looks both names up first.
    LINKSPAN_TRY(const Entry source, vfs->lookup(me, ino(from_dir), from_name));
    LINKSPAN_TRY(const Entry target, vfs->lookup(me, ino(to_dir), to_name));
    (void)source;
    (void)target;
    return vfs->rename(me, ino(from_dir), from_name, ino(to_dir), to_name, flags);
  }
  Status unlink(const std::string& path) {
    const auto [dir, name] = split(path);
    return vfs->unlink(me, ino(dir), name);
  }
  Status mkdir(const std::string& path) {
    const auto [dir, name] = split(path);
    LINKSPAN_TRY(const Entry made, vfs->mkdir(me, ino(dir), name, 0755));
    return made.attr.kind == Kind::directory ? ok() : fail(Code::internal);
  }
  std::vector<std::string> list(const std::string& path, size_t step = 50) {
    std::vector<std::string> names;
    const Ino dir = ino(path);
    const auto handle = vfs->opendir(me, dir);
    EXPECT_TRUE(handle.ok());
    if (!handle.ok()) return names;
    for (uint64_t offset = 0;;) {
      const auto items = vfs->readdir(me, dir, *handle, offset, step);
      EXPECT_TRUE(items.ok());
      if (!items.ok() || items->empty()) break;
      for (const DirItem& item : *items) {
        EXPECT_GT(item.offset, offset);
        offset = item.offset;
        if (item.name != "." && item.name != "..") names.push_back(item.name);
      }
    }
    vfs->releasedir(dir, *handle);
    return names;
  }
  Status set(const std::string& path, const SetAttr& what, std::optional<Handle> h = {}) {
    LINKSPAN_TRY(const AttrReply reply, vfs->setattr(me, ino(path), what, h));
    (void)reply;
    return ok();
  }

  LocalClient client;
  FakeKernel kernel;
  MountClock clock;
  std::unique_ptr<Vfs> vfs;
  Ino root;
  Caller me;          // whoever calls; tid 0: nobody in particular
  bool kept = false;  // keep_cache of the last open
  std::atomic<int> revocations{0}, losses{0};
  std::vector<std::string> told_of_wal;

 private:
  static std::vector<std::string> parts(const std::string& path) {
    std::vector<std::string> out;
    for (size_t at = 0; at < path.size();) {
      const size_t end = std::min(path.find('/', at), path.size());
      if (end > at) out.push_back(path.substr(at, end - at));
      at = end + 1;
    }
    return out;
  }
  static std::pair<std::string, std::string> split(const std::string& path) {
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return {"", path};
    return {path.substr(0, slash), path.substr(slash + 1)};
  }
  Vfs* get() {
    std::lock_guard lock(mutex_);
    return vfs.get();
  }
  std::mutex mutex_;
  std::map<Handle, Ino> files_;
};

// EXPECT_OK(x) says what went wrong.
template <class T>
::testing::AssertionResult is_ok(const Result<T>& result) {
  if (result.ok()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << to_string(result.code()) << ": " << result.error().message;
}
#define EXPECT_OK(x) EXPECT_TRUE(::linkspan::vfs::testing::is_ok(x))
#define ASSERT_OK(x) ASSERT_TRUE(::linkspan::vfs::testing::is_ok(x))

template <class T>
std::string text(const Result<T>& result) {
  return result.ok() ? *result : std::string(to_string(result.code()));
}

// Waits for something that another thread brings about.
template <class Happened>
bool eventually(Happened happened, std::chrono::milliseconds within = 10s) {
  const auto deadline = std::chrono::steady_clock::now() + within * test::kSlowdown;
  while (!happened()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

// Two mounts of one router.
class TwoMounts : public ::testing::Test {
 protected:
  LocalRouter router;
  Mount a{&router}, b{&router};
  // On b, as this process from now on.
  Handle opens(const OtherProcess& process, int flags) {
    b.me.tid = process.tid();
    const auto opened = b.open("x", flags);
    EXPECT_OK(opened);
    return opened.ok() ? *opened : 0;
  }
};

inline bool refused(const Status& status) {
  return !status.ok() && status.code() == Code::conflict;
}

}  // namespace linkspan::vfs::testing
