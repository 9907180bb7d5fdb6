// Sends unsaved writes to the router: when a caller needs them committed, and by itself at the
// latest limits::kCommitDelay after a write.
//
// A commit that ends without an answer keeps its bytes and its operation number, so that sending it
// again later never applies it twice. A refusal (quota, conflict, ...) is the error of the caller,
// or of the next flush or fsync when nobody waited.
//
// Threads: any; a few of its own commit in the background. No lock is held while it waits, but for
// the turn of the file, which only commits and changes of its attributes take.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fusefs/vfs/base_versions.h"
#include "fusefs/vfs/kernel_view.h"
#include "fusefs/vfs/open_files.h"
#include "fusefs/vfs/tree.h"

namespace linkspan::vfs {

inline constexpr unsigned kCommitters = 4;                          // background threads
inline constexpr std::chrono::milliseconds kCommitRetryDelay{500};  // while the router is away
// How long a file that was truncated, and not written to since, waits for its writer.
inline constexpr std::chrono::milliseconds kBareTruncation{2000};
inline constexpr uint64_t kLeastCommitRate = 2 << 20;  // bytes a second

class Commits {
 public:
  struct Parts {  // none is owned
    Tree* tree = nullptr;
    OpenFiles* files = nullptr;
    KernelView* kernel = nullptr;
    BaseVersions* bases = nullptr;
    cache::ContentCache* content = nullptr;
    const VfsOptions* options = nullptr;
  };
  explicit Commits(Parts parts);
  ~Commits();

  // All that was unsaved when it was called, in order. Nothing is sent for a clean file. The time
  // of `doing` is for each commit, and more of it for large ones while the router takes them: a
  // commit of 1 GiB needs longer than the router may stay silent.
  Status commit(const Doing& doing, OpenFile& file, const CommitPart& part = {});
  // Takes the file's turn, behind the commit that is under way; the time that is left then.
  Result<Doing> take_turn(const Doing& doing, OpenFile& file);
  Status commit_with_turn(const Doing& doing, OpenFile& file, const CommitPart& part = {});

  // In the background, after `delay` at the latest.
  void schedule(Ino ino, std::chrono::milliseconds delay);
  // Ends the background threads; what is unsaved stays so.
  void stop();

  // How many succeeded. One counts as soon as the tree has what it made, before its file is clean.
  uint64_t count() const { return count_; }
  // Commits that were refused for good, their bytes dropped (VfsOptions::on_loss).
  uint64_t lost_count() const { return lost_; }
  // For want of space, and none has succeeded since; an empty text: not so.
  struct Refusal {
    std::string text;
    Time since, last;
  };
  Refusal refusal() const;
  // Commits that were refused, their bytes kept by the router (VfsOptions::on_conflict).
  uint64_t conflict_count() const { return conflicts_; }

  // Nobody will ever see this file's unsaved writes: it has neither name nor handle.
  void forget(OpenFile& file);

 private:
  using Due = std::chrono::steady_clock::time_point;

  Status commit_layer(const Doing& doing, OpenFile& file, const std::shared_ptr<Layer>& layer);
  void succeeded(OpenFile& file, const Layer& layer, cache::Ticket ticket,
                 const MutationReply& reply);
  std::optional<std::string> content_of(const OpenFile& file, const Layer& layer,
                                        const OpenFile::Outcome& outcome, uint64_t size);
  void learn_bases(const Layer& layer, const OpenFile::Outcome& outcome,
                   const MutationReply& reply);
  void learn_successor(const Attr& now, const Layer& layer, const OpenFile::Outcome& outcome,
                       bool here);
  Status drop_doomed(OpenFile& file);  // with the turn
  void failed(OpenFile& file, const Layer& layer, const Error& error);
  void let_go(OpenFile& file, const Layer& layer);
  std::string written(const OpenFile& file, uint64_t bytes) const;
  void lose(const OpenFile& file, uint64_t bytes, const Error& error);
  void note(const Error* refused);  // null: a commit has succeeded
  void tell_conflict(const OpenFile& file, uint64_t bytes, const Error& error);
  void run(client::CancelToken* stop);
  std::chrono::milliseconds writer_may_need(const OpenFile& file);
  void commit_in_background(Ino ino, client::CancelToken* stop);

  const Parts parts_;
  // One a background thread, since a token holds the callback of one call at a time.
  std::array<client::CancelToken, kCommitters> stops_;
  std::atomic<uint64_t> count_{0}, lost_{0}, conflicts_{0};

  mutable std::mutex refusal_mutex_;  // leaf; guards the next
  Refusal refusal_;

  std::mutex mutex_;  // leaf; guards what follows
  std::condition_variable wake_;
  std::map<Ino, Due> due_of_;
  std::multimap<Due, Ino> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;  // last: they use all of the above
};

}  // namespace linkspan::vfs
