// The unsaved writes of a file that become one commit, and who had a part in them: whose base they
// rest on, and who knows the content that comes of them.
//
// Threads: none of its own; OpenFile's lock guards it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "fusefs/vfs/base_versions.h"
#include "fusefs/vfs/dirty_buffer.h"
#include "fusefs/vfs/processes.h"
#include "linkspan/clock.h"
#include "linkspan/ops.h"

namespace linkspan::vfs {

inline constexpr size_t kParties = 64;  // of one layer; the next ones count as not knowing

// A process, or whoever else has the same open file description: a child that inherited it.
struct Party {
  Process process;
  uint64_t handle = 0;  // 0: none
  // A process that is not known (Process) may be any.
  bool same(const Party& other) const {
    return !process || !other.process || process == other.process ||
           (handle != 0 && handle == other.handle);
  }
};

// Who edits, and what that rests on.
struct Editor {
  Party party;
  std::function<Basis()> base;  // called under the file's lock
  Time now;
};

struct Layer {
  Layer(uint64_t n, DirtyBuffer::Kind kind, SpoolPlace* place, const Editor& by)
      : number(n),
        buffer(std::make_shared<DirtyBuffer>(kind, place)),
        since(by.now),
        mtime(by.now) {}
  const uint64_t number;  // ascending within the file
  const std::shared_ptr<DirtyBuffer> buffer;
  std::optional<Base> base;
  const Time since;  // its first edit
  Time mtime;
  bool keep_mtime = false;  // the times were set after the last write
  bool sealed = false;      // being sent, or sent without an answer: must not change any more
  OpNumber operation;       // sent without an answer; only whoever has the turn touches it

  // A truncation, and no more.
  bool bare() const { return buffer->whole() && !buffer->has_data(); }
  // After each edit of the buffer.
  void touch(const Editor& by);
  // It was cut to nothing: what was written before is not in it any more.
  void touch_truncated(const Editor& by);
  // What is in it by now was read, or may have been; `half`: with parts of something else.
  void read_by(const Process& process, bool half = false);

  bool has_part(const Party& party) const;    // it wrote or truncated
  bool others_have(const Party& than) const;  // others wrote or truncated
  bool known_writers() const;                 // nobody wrote that is not known
  // Somebody wrote or truncated who is known, and is not that process; which may be any, unknown.
  bool has_known_writer(const std::optional<Process>& but) const;
  bool knows(const Process& process) const;     // what is in it: wrote it, or read all of it
  bool knows(const Party& party) const;         // or whoever shares its descriptor
  bool has_read(const Process& process) const;  // some of it
  std::vector<Process> other_readers() const;   // that did not write or truncate it
  // Whether all who made this layer knew of the one beneath; or one of them read half of that.
  bool rests_on(const Layer& beneath) const;
  // `blended`: what came of that has changes of others in it, too.
  bool rests_on_half(const Layer& beneath, bool blended) const;
  // It read some, and others have gone on since.
  bool read_half(const Process& process) const { return has_read(process) && !knows(process); }
  // It read what another has written or truncated.
  bool read_anothers(const Process& process) const {
    return has_read(process) && others_have(Party{process});
  }

  // Who wrote or read this. Bounded by kParties.
  struct Part {
    Party party;
    bool blind = false;      // as it began to edit it had not read the file itself (Basis::read)
    bool wrote = false;      // bytes that are in it
    bool truncated = false;  // cut it to nothing
    bool read = false;
    uint64_t seen = 0;  // `edits` when it last read; kNever: nor will it know
  };
  std::vector<Part> parts;
  uint64_t edits = 0;

 private:
  static constexpr uint64_t kNever = UINT64_MAX;
  Part* part_of(const Party& party);
  Part* editor(const Editor& by);
  bool others_wrote(const Party& than) const;
  bool known_to(const Part& part) const;
};

}  // namespace linkspan::vfs
