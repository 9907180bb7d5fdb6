// System calls through a route's own mount that make the kernel raise the inotify events of a
// change that another mount made: what they seem to do has been done already, and OwnCalls answers
// them.
//
// A visit lasts for a few calls. Where allowed it goes through a private copy of the mount, which
// keeps nobody from unmounting the route and may be written to though the route is read-only; else
// through the mount itself, which then counts as in use meanwhile.
//
// Threads: that of the watchers alone. A call may wait for the kernel's lock of a directory or file
// that a request of some program holds; that program's request is answered within its deadline.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "fusefs/fuse/mount.h"
#include "fusefs/fuse/nudges.h"
#include "fusefs/fuse/own_calls.h"

namespace linkspan::fuse {

// The path of a directory in its route, without a "/" before it; none: it is not known.
using PathOf = std::function<std::optional<std::string>(Ino)>;

struct VisitPlace {
  std::string mountpoint;
  dev_t device = 0;
  OwnCalls* own = nullptr;       // not owned
  Notifier* notifier = nullptr;  // not owned
};

class Visit final : public Nudges {
 public:
  // Errors: `not_found` when the route is not mounted there any more.
  // `path_of` is asked where directories cannot be opened by their numbers.
  static Result<std::unique_ptr<Visit>> begin(const VisitPlace& place, PathOf path_of);
  ~Visit() override;
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

  Status created(Ino dir, const std::string& name, const Attr& now) override;
  Status removed(Ino dir, const std::string& name, const Attr& before, bool gone) override;
  Status replaced(Ino dir, const std::string& name, const Attr& now) override;
  Status modified(Ino dir, const std::string& name, const Attr& now) override;
  Status attributes(Ino dir, const std::string& name) override;
  Status node_modified(const Attr& now) override;
  Status node_attributes(const Attr& now) override;
  Status node_lost(const Attr& before) override;
  Status directory_attributes(Ino dir) override;
  Status directory_lost(const Attr& before) override;

 private:
  Visit(const VisitPlace& place, PathOf path_of, Fd tree, Fd root);
  Result<Fd> open_directory(Ino dir);
  Result<int> directory(Ino dir);
  Status modify(int dir, const std::string& name, const Attr& now);
  std::string through(Ino ino) const;

  const VisitPlace place_;
  const PathOf path_of_;
  Fd tree_, root_;
  Ino opened_;  // the directory that is open
  Fd directory_;
};

}  // namespace linkspan::fuse
