// One file that is open or has unsaved writes: how it looks from this mount, and what is to be
// committed, in order.
//
// The local view is one version of the committed content, the base, with layers of unsaved writes
// over it. The base stays what it was while there are layers, whatever others commit. Each layer
// becomes one commit; only the lowest is ever sent, by whoever has the turn, and then it is sealed:
// later writes go into a layer above.
//
// Who knows which version changes together with the version: edits ask for their base, and commits
// tell who knows the result, under the file's lock. Else an edit between the two would rest on the
// version before our own commit, and meet that commit as somebody else's change.
//
// Processes of one mount that rewrite a file at once, unlocked, have a layer each: what one of them
// has written is not wiped by the other's truncation, and each is one commit with a base of its
// own, as if they were on two mounts. Only the view here is that of a local disk.
//
// Threads: any. The lock is never held while anybody waits, but for `take_turn`, which gives it up
// meanwhile.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "fusefs/cache/patience.h"
#include "fusefs/vfs/data_map.h"
#include "fusefs/vfs/layer.h"
#include "fusefs/vfs/sights.h"
#include "fusefs/vfs/write_errors.h"
#include "linkspan/clock.h"
#include "linkspan/ops.h"

namespace linkspan::vfs {

inline constexpr size_t kLayers = 1024;  // of one file; then writes fail with `busy`
// Who truncated what another had just truncated begins a rewrite of its own within that time.
inline constexpr std::chrono::nanoseconds kWaitsToRewrite = std::chrono::seconds(2);

// The committed content under a clean file, as just learned. `moment` guards against a commit of
// our own in between: OpenFile::moment() from before it was learned.
struct Beneath {
  uint64_t moment = 0;
  Version version;
  uint64_t size = 0;
};

// Of a version: what a process has read.
enum class ReadOf : uint8_t {
  it,       // the version, with what is unsaved over it
  rewrite,  // what another process here is making of it
  half,     // a part of that, and a part of something else
};

// Who reads, and what takes note of the version that lies beneath what it reads.
struct Reader {
  Process process;
  Sights::How how;
  std::function<void(const Base&, ReadOf)> note;  // called under the file's lock
};

// How much of what is unsaved a commit is to take, and whose failures are its caller's.
struct CommitPart {
  std::optional<Party> whose;  // up to the last that this one wrote; none: all
  bool bare = true;            // also a truncation over which nothing was written yet
};

enum class Edited : uint8_t {
  done,
  outdated,  // `beneath` is not what lies beneath any more: learn it again
};

class OpenFile {
 public:
  OpenFile(Ino of, SpoolPlace* place) : ino(of), place_(place) {}
  const Ino ino;

  // -- the local view -------------------------------------------------------------------------
  struct View {
    Version base;
    uint64_t size = 0;
    std::optional<Time> mtime;  // none: as the committed attributes say
    Time last_write;
  };
  std::optional<View> view() const;  // none: clean, as committed
  // As view(), and the process reads it, unsaved writes included.
  std::optional<View> view_for(const Reader& reader);

  struct Reading {
    Version base;
    uint64_t size = 0;        // of the local view
    size_t bytes = 0;         // of the answer, in `out`
    std::vector<Range> gaps;  // of the answer, as file offsets: to be read from the base
  };
  // Fills `out` (`size` zeros) with what is unsaved. None: clean. `read_state`: the descriptor's,
  // guarded by the file's lock.
  Result<std::optional<Reading>> read(const Reader& reader, uint64_t offset, char* out, size_t size,
                                      ReadState* read_state);
  // It was clean a moment ago: this version, of that size, is read.
  void read_committed(const Reader& reader, const ReadAt& at, Version version, uint64_t size,
                      ReadState* read_state);
  // The process of this descriptor is told of that version, or of what is unsaved over it, as it
  // was at `sight()`.
  Sight sight(Version version, uint64_t size) const;
  void told_size(const Sight& sight, ReadState* read_state);
  bool knows_size(const Process& process, Version version, const ReadState& read_state) const;

  // The first byte of data (or of a hole) at or after `offset`, which `base` tells. None: what lies
  // beneath is not what `base` is about, or the file is clean.
  std::optional<Sought> seek(uint64_t offset, bool data, const DataMap& base) const;

  // -- edits ----------------------------------------------------------------------------------
  uint64_t moment() const;
  std::optional<Base> base_of(const Layer& layer) const;
  Result<Edited> write(const Beneath& beneath, const Editor& by, uint64_t offset,
                       std::string_view data, bool append);
  Result<Edited> truncate(const Beneath& beneath, const Editor& by, uint64_t size);
  Result<Edited> punch(const Beneath& beneath, const Editor& by, uint64_t begin, uint64_t end);
  Result<Edited> extend(const Beneath& beneath, const Editor& by, uint64_t size);
  // The file has just been truncated. These have it open, and may read so, by the size that the
  // kernel has now, before they ask for anything.
  void may_have_read(const std::vector<Process>& others);
  // It got a lock: it goes on from what is there; so does this descriptor of it.
  void synchronised(const Process& process);
  void begin_anew(ReadState* read_state);
  void closed(uint64_t handle);  // no edits come by it any more
  void times_were_set();         // utimensat came after the writes so far

  // -- commits --------------------------------------------------------------------------------
  // One thread at a time commits, or changes attributes that must keep their order with commits.
  Status take_turn(const cache::Patience& patience);
  void end_turn();

  bool dirty() const;
  uint64_t dirty_bytes() const;
  // Nothing but a truncation is unsaved (O_TRUNC at open, nothing written since).
  bool only_truncated() const;
  // The kernel's pages may hold bytes of several layers.
  bool mixed() const;
  // Another process than this one is writing it (and nobody through a mapping).
  bool others_write(const Process& than) const;
  // This one truncated it, and nobody has written since.
  bool truncated_last(const Party& by) const;
  // When the first of the edits was that the next commit would send. None: clean, or it is under
  // way.
  std::optional<Time> unsaved_since() const;
  uint64_t last_layer(const CommitPart& part = {}) const;  // its number; 0: none
  // The lowest layer, sealed, if it is none above number `last`; else null. With the turn.
  std::shared_ptr<Layer> seal_lowest(uint64_t last);
  // The lowest layer was committed: the result is the base now. With the turn.
  struct Outcome {
    Version before;        // the base until now
    uint64_t beneath = 0;  // its size
    bool as_seen = false;  // the result is what the local view was: nobody else's change is in it
    Version unmerged;      // what was written, over what that rests on, before a merge; 0: none
    bool mixed = false;    // the kernel's pages may hold bytes of several layers
    std::vector<Process> knowers;
    std::vector<Process> half;  // had read it before it was finished
  };
  // `learn` notes who knows the result; under the file's lock.
  Outcome committed(const Layer& layer, const Attr& result, const MutationReply& reply,
                    const std::function<void(const Outcome&)>& learn);
  // Its bytes are the router's or nobody's. With the turn. `unlearn`: who had read them, and did
  // not write them, has read what never was; under the file's lock.
  void drop_lowest(const std::function<void(const std::vector<Process>&)>& unlearn);
  // The file has no name and no handle any more. The operations that were sent without an answer.
  std::vector<OpNumber> drop_all();
  // What lies beneath changed by an operation of our own that is no commit: one version, or, if
  // `now` is not the next, others' changes with it. 0: none.
  void base_changed(const Process& by, Version before, Version now);
  // A rename gave the same content another version number.
  void renumbered(Version from, Version to);

  // What of it could not be committed, for those who have it open for writing.
  WriteErrors errors;

  // What is unsaved was written under a lock that is lost: it must not be committed any more.
  void doom();
  bool doomed() const;
  void undoom();  // nothing of it is left

  bool orphan() const;  // was removed: nothing of it need be committed
  void set_orphan();

  // A rename by this process of our mount gave its last name to another file. What others write
  // goes to that file, too (CommitRequest::follow); but a bare truncation, which has nothing to
  // lose, and what was mapped, by whoever.
  void replaced_by(const Process& process);
  bool replaced_here() const;
  // The process has given a name that the file had to another, or removed it.
  void name_taken(const Process& process, const cache::Name& name);
  bool was_taken(const Process& process, const cache::Name& name) const;
  // Our mount has given it another name since it was opened.
  void set_renamed();
  bool renamed() const;
  bool follow(const Layer& layer) const;

  // -- handles, for the table of open files ---------------------------------------------------
  unsigned handles = 0;  // under the table's lock

 private:
  struct Waiting {
    Party party;
    Time since;
  };
  static bool joins(const Layer& top, const Editor& by, const Basis& basis, const Range& range);
  bool adds_at_end(const Beneath& beneath, const Editor& by) const;
  Result<Layer*> layer_for(const Beneath& beneath, const Editor& by, DirtyBuffer::Kind kind,
                           const Range& range);
  Result<Layer*> add_layer(const Editor& by, const Basis& basis, DirtyBuffer::Kind kind);
  enum class Cut : uint8_t { no, to_nothing };
  void edited(Layer* layer, const Editor& by, Cut cut = Cut::no);
  Result<Layer*> rewrite_again(const Beneath& beneath, const Editor& by);
  Result<Layer*> begin_rewrite(const Beneath& beneath, const Editor& by);
  bool lay(const Beneath& beneath);
  void wait_to_rewrite(const Waiting& waiting);
  bool begins(const Editor& by, uint64_t offset);
  void goes_on(const Process& process);
  bool waits(const Party& party) const;
  Layer* unsealed_top() const;
  Layer* rewrite_of(const Party& party) const;
  View view_now() const;
  Base beneath() const { return {ino, base_}; }
  void read_by(const Reader& reader, Sees sees = Sees::content);
  void pop_lowest();
  uint64_t size_under(size_t layer) const;
  uint64_t size_now() const { return size_under(layers_.size()); }

  SpoolPlace* place_;  // not owned
  // After OpenFiles'. Under it only leaves: BaseVersions' (Editor::base, Reader::note, `learn`),
  // KernelView's of pages and TreeCache's (`learn`), SpoolPlace's (a buffer that goes).
  mutable std::mutex mutex_;
  std::condition_variable turn_free_;
  bool turn_taken_ = false;
  uint64_t moment_ = 1;
  uint64_t next_layer_ = 1;
  Version base_;  // beneath the layers; says nothing while there are none
  uint64_t base_size_ = 0;
  std::deque<std::shared_ptr<Layer>> layers_;
  Sights sights_;
  uint64_t clean_edits_ = 0;  // before the first of the layers, or of those that were last there
  std::vector<Waiting> truncated_;  // these, too, and have written nothing since: see begin_rewrite
  bool mixed_ = false;              // layers of several rewriters are, or were, over one another
  bool orphan_ = false;
  std::optional<Process> replaced_by_;
  bool renamed_ = false;
  static constexpr size_t kTaken = 64;
  std::deque<std::pair<Process, cache::Name>> taken_;  // at most kTaken, the newest
  bool doomed_ = false;
};

// Holds the turn.
class Turn {
 public:
  explicit Turn(OpenFile* file) : file_(file) {}
  ~Turn() { file_->end_turn(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  OpenFile* file_;
};

}  // namespace linkspan::vfs
