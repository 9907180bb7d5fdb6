// A mount under a hostile router: the filesystem of one route, called as the kernel calls it, with
// replies and revocations of the input's choice; and .linkspan/query over the same router.
#include <fcntl.h>
#include <sys/stat.h>

#include "fusefs/cli/conflict_folders.h"
#include "fusefs/cli/mount_query.h"
#include "fusefs/vfs/vfs.h"
#include "tests/fuzz/hostile_client.h"
#include "tests/fuzz/messages.h"

namespace linkspan::fuzz {
namespace {

// Nothing becomes due by itself: what the mount does is what it is called for.
class StoppedClock final : public Clock {
 public:
  Time now() const override { return Time{1'700'000'000'000'000'000}; }
  Steady steady() const override { return steady_; }

 private:
  const Steady steady_ = Clock::system().steady() + std::chrono::hours(24);
};

constexpr int kCalls = 48;  // of one input

class Kernel {
 public:
  Kernel(Input* input, client::RouterClient* client) : in_(*input) {
    options_.route.path = options_.route.volume = "memory";
    options_.route.rights = Access::read_write;
    options_.route.root = Ino(16);
    options_.route.timeout_ms = 1000;
    options_.clock = &clock_;
    vfs_ = vfs::make_vfs(client, nullptr, options_);
    queries_.client = client;
    queries_.routes = {options_.route};
    folders_.emplace(client, queries_.routes, false);
  }
  ~Kernel() {
    for (const auto& [handle, ino] : files_) vfs_->release(ino, handle);
    for (const auto& [handle, ino] : directories_) vfs_->releasedir(ino, handle);
  }

  void call() {
    const vfs::Caller c{1000, 1000, 0, nullptr};
    const Ino ino(in_.ino());
    switch (in_.small(33)) {
      case 0:
        return use(vfs_->lookup(c, ino, in_.name()));
      case 1:
        return use(vfs_->getattr(c, ino, std::nullopt));
      case 2: {
        vfs::SetAttr set;
        if (in_.flag()) set.mode = static_cast<uint32_t>(in_.number(07777));
        if (in_.flag()) set.size = in_.number(limits::kFileBytes);
        if (in_.flag()) set.mtime = Time{static_cast<int64_t>(in_.number())};
        set.atime_now = in_.flag();
        return use(vfs_->setattr(c, ino, set, std::nullopt));
      }
      case 3:
        return use(vfs_->readlink(c, ino));
      case 4:
        return use(vfs_->mknod(c, ino, in_.name(), Kind::file, 0644));
      case 5:
        return use(vfs_->mkdir(c, ino, in_.name(), 0755));
      case 6:
        return use(vfs_->symlink(c, ino, in_.name(), "target"));
      case 7:
        return use(vfs_->unlink(c, ino, in_.name()));
      case 8:
        return use(vfs_->rmdir(c, ino, in_.name()));
      case 9:
        return use(vfs_->rename(c, ino, in_.name(), Ino(in_.ino()), in_.name(), in_.small(2)));
      case 10:
        return use(vfs_->link(c, ino, Ino(in_.ino()), in_.name()));
      case 11:
      case 12:
        return open(c, ino);
      case 13: {
        auto made = vfs_->create(c, ino, in_.name(), 0644, O_RDWR);
        if (made.ok()) files_.emplace_back(made->second.handle, made->first.attr.ino);
        return;
      }
      case 14:
        return directory(c, ino);
      case 15:
      case 16:
        return list(c);
      case 17:
        return use(vfs_->getxattr(c, ino, "user." + in_.name()));
      case 18:
        return use(vfs_->listxattr(c, ino));
      case 19:
        return use(vfs_->setxattr(c, ino, "user.a", in_.bytes(64), in_.small(2)));
      case 20:
        return use(vfs_->statfs(c, ino));
      case 21:
        if (const auto revocation = client().revocation()) vfs_->on_revoke(*revocation);
        return;
      case 22:
        return vfs_->on_caches_lost();
      case 23:
        return use(vfs_->sync_all(c));
      case 24:
        return query(c);
      case 25:
        return conflict_folders(c);
      case 26:
        return observe(c, ino);
      default:
        return with_file(c);
    }
  }
  HostileClient& client() { return *static_cast<HostileClient*>(queries_.client); }

 private:
  template <class T>
  void use(const Result<T>& result) {
    if (!result.ok()) require(result.error().code != Code{}, "an error has a code");
  }
  void open(const vfs::Caller& c, Ino ino) {
    constexpr int kFlags[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_TRUNC, O_WRONLY | O_APPEND};
    const auto opened = vfs_->open(c, ino, kFlags[in_.small(4)]);
    if (opened.ok()) files_.emplace_back(opened->handle, ino);
  }
  void directory(const vfs::Caller& c, Ino ino) {
    const auto opened = vfs_->opendir(c, ino);
    if (opened.ok()) directories_.emplace_back(*opened, ino);
  }
  void list(const vfs::Caller& c) {
    if (directories_.empty()) return;
    const auto [handle, ino] = directories_[in_.small(255) % directories_.size()];
    const auto items = vfs_->readdir(c, ino, handle, in_.number(INT64_MAX), 1 + in_.small(63));
    if (!items.ok()) return;
    for (const vfs::DirItem& item : *items)
      require(!item.name.empty() && item.name.find('/') == std::string::npos,
              "what a listing tells has names");
  }
  void with_file(const vfs::Caller& c) {
    if (files_.empty()) return;
    const size_t at = in_.small(255) % files_.size();
    const auto [handle, ino] = files_[at];
    switch (in_.small(8)) {
      case 0:
      case 1: {
        const size_t size = in_.number(1 << 17);
        const auto got = vfs_->read(c, ino, handle, in_.number(INT64_MAX), size);
        if (got.ok()) require(got->size() <= size, "a read returns no more than was asked for");
        return;
      }
      case 2:
      case 3: {
        const std::string data = in_.bytes(4096);
        const auto n =
            vfs_->write(c, ino, handle, in_.number(limits::kFileBytes), data, in_.flag());
        if (n.ok()) require(*n <= data.size(), "a write writes no more than was given");
        return;
      }
      case 4:
        return use(vfs_->flush(c, ino, handle));
      case 5:
        return use(vfs_->fallocate(c, ino, handle, in_.flag() ? FALLOC_FL_KEEP_SIZE : 0,
                                   in_.number(limits::kFileBytes), 1 + in_.number(1 << 20)));
      case 6:
        return use(vfs_->seek(c, ino, handle, in_.number(INT64_MAX), in_.flag()));
      case 7: {
        const auto [to, to_ino] = files_[in_.small(255) % files_.size()];
        return use(vfs_->copy_range(c, ino, handle, in_.number(1 << 20), to_ino, to,
                                    in_.number(1 << 20), in_.number(1 << 16)));
      }
      default:
        vfs_->release(ino, handle);
        files_.erase(files_.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  void query(const vfs::Caller& c) {
    constexpr const char* kAsked[] = {
        R"({"op":"changes"})",
        R"({"op":"versions","route":"memory","ino":17})",
        R"({"op":"node","route":"memory","ino":17})",
        R"({"op":"read","route":"memory","ino":17,"version":1,"length":100})",
        R"({"op":"conflicts"})",
        R"({"op":"settle","number":1})",
    };
    require(!queries_.answer(c, in_.flag() ? kAsked[in_.small(5)] : in_.bytes(512)).empty(),
            "whatever is asked is answered");
  }
  void conflict_folders(const vfs::Caller& c) {
    use(folders_->list(c, in_.number(), 16));
    use(folders_->find(c, "1-" + in_.name()));
    use(folders_->files(c, in_.number()));
  }
  void observe(const vfs::Caller& c, Ino ino) {
    vfs::Observer* observer = vfs_->observer();
    use(observer->node(c, ino));
    use(observer->name(c, ino, in_.name()));
    use(observer->page(c, ino, Cookie(in_.number(INT64_MAX)), 16));
  }

  Input& in_;
  const StoppedClock clock_;
  vfs::VfsOptions options_;
  std::unique_ptr<vfs::Vfs> vfs_;
  cli::MountQueries queries_;
  std::optional<cli::ConflictFolders> folders_;
  std::vector<std::pair<vfs::Handle, Ino>> files_, directories_;
};

}  // namespace
}  // namespace linkspan::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace linkspan::fuzz;
  Input input(data, size);
  HostileClient client(&input);
  Kernel kernel(&input, &client);
  for (int call = 0; call < kCalls && input.left(); ++call) kernel.call();
  return 0;
}
