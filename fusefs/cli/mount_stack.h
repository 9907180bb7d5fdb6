// The mounts, symlinks and directories that one `linkspan mount` makes, and their undoing in
// reverse. Each step is reported before it counts as done, so that a state file always names at
// least what is there.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fusefs/cli/mount_state.h"

namespace linkspan::cli {

// May this process call mount(2)? Asks the kernel, by mounting nothing.
bool can_mount();

//
// A mount that takes the place of one whose process was killed inherits its steps: what a call
// below would make and the dead mount has made is taken over as it is, so that a cover, above all,
// never goes and comes back. Undone, it stays as inherited.
class MountStack {
 public:
  using OnChange = std::function<void(const std::vector<MountStep>&)>;
  explicit MountStack(OnChange on_change = {}, std::vector<MountStep> inherited = {})
      : on_change_(std::move(on_change)), inherited_(std::move(inherited)) {}
  MountStack(const MountStack&) = delete;
  MountStack& operator=(const MountStack&) = delete;

  // Takes the dead mounts away; below them their covers come to light.
  Status uncover(const std::string& dir);
  // Everything is mounted: what was inherited and not taken over is undone.
  std::vector<Error> settle();
  bool inherits() const { return !inherited_.empty(); }

  // An empty tree that nobody can write to, under what is mounted next: what dies on top of it
  // never uncovers the directory beneath. Where mounting is not allowed the directory itself must
  // be ours; seal() makes it unwritable once it is mounted on (fusermount3 insists on one that is
  // writable before), and undo gives it back its mode.
  Status cover(const std::string& path);
  Status seal();
  // A FUSE connection is (about to be) mounted at `path`. It is its owner's to close; the step is
  // for the state file.
  void fuse(const std::string& path);
  Status bind(const std::string& from, const std::string& to);
  Status symlink(const std::string& target, const std::string& path);
  // What another mount left there does not count as being there.
  Status make_directory(const std::string& path);
  Status make_parents(const std::string& path);  // those that are missing
  // Takes over what was inherited of this kind at this path; false: nothing.
  bool take_over(MountStep::Kind kind, const std::string& path);

  // Undoes, last first, what came after the last FUSE connection; then, when those are closed, the
  // rest. What is busy is detached. Returns what could not be undone.
  std::vector<Error> undo_above_fuse();
  std::vector<Error> undo();

 private:
  struct Done {
    MountStep step;
    bool inherited = false;
  };
  void push(MountStep step);
  void pop();
  void changed() const;
  void undo_last(std::vector<Error>* failures);
  void give_back();
  Status cover_as_user(const std::string& path, unsigned mode);

  std::vector<Done> done_;
  UniqueFd beneath_;  // the directory that seal() changes
  OnChange on_change_;
  std::vector<MountStep> inherited_;
};

// Detaches the mounts among `steps`, last first, but only what is still ours; the rest is left.
std::vector<Error> detach_steps(const std::vector<MountStep>& steps);
// For a mount whose process is gone: undoes `steps`, but only what is still ours.
std::vector<Error> undo_steps(const std::vector<MountStep>& steps);

}  // namespace linkspan::cli
