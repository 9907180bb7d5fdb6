// The table of open files and their handles, and of open directories. A file stays in it while a
// handle or unsaved bytes exist.
//
// Threads: any. Its lock is taken before a file's lock, never while anybody waits.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "fusefs/cache/names.h"
#include "fusefs/vfs/open_file.h"
#include "fusefs/vfs/vfs.h"

namespace linkspan::vfs {

// A reader by several calls goes on for so long with the version that it began with.
inline constexpr std::chrono::seconds kGoesOn{1};

struct FileHandle {
  std::shared_ptr<OpenFile> file;
  Process opener;
  bool reads = false;
  bool writes = false;
  std::atomic<uint64_t> errors_seen{0};    // of the file's: when it was opened, or told by fsync
  std::atomic<bool> locks{false};          // somebody set a lock through it
  std::atomic<bool> locks_lost{false};     // and one was lost: it may not write any more
  bool direct = false;                     // Opened::direct
  std::atomic<bool> may_have_read{false};  // the kernel's pages were kept: a read may go unseen
  std::atomic<uint64_t> next_offset{0};    // where a sequential reader goes on
  std::atomic<uint32_t> sequential{0};     // how many reads in a row were
  std::vector<cache::Name> names;          // one by which it was opened, as far as known
  ReadState read_state;                    // guarded by the file's lock
  // Direct handles: what the last read was of, until one saw its end.
  std::optional<SizedVersion> going_on(bool in_sequence);
  void goes_on(const SizedVersion& with);
  void ended();
  std::mutex data_map_mutex;                // leaf
  std::shared_ptr<const DataMap> data_map;  // the last that seek() asked for; may be null

 private:
  std::mutex goes_on_mutex_;  // leaf
  std::optional<SizedVersion> goes_on_;
  std::chrono::steady_clock::time_point goes_on_since_;
};

// The kernel named a handle that was never given out, or was released.
inline Error no_such_handle() {
  return fail(Code::internal, "no such open file");
}

class OpenFiles {
 public:
  explicit OpenFiles(SpoolPlace* place) : place_(place) {}

  Handle open(Ino ino, const Process& opener, bool reads, bool writes);
  std::shared_ptr<FileHandle> handle(Handle h) const;  // null: no such handle
  // The handle is gone. The file, if that was its last one and something is unsaved.
  std::shared_ptr<OpenFile> close(Handle h);
  // Takes the file out of the table if nothing holds it there. After a commit or a close.
  void retire(Ino ino);

  std::shared_ptr<OpenFile> find(Ino ino) const;  // null: neither open nor unsaved
  std::vector<std::shared_ptr<OpenFile>> dirty() const;
  unsigned handles_of(Ino ino) const;
  // Those that the process opened for writing, but for this one.
  unsigned writing_handles_of(Ino ino, const Process& opener, const FileHandle* but) const;
  // A process that is none of these has the file open for reading: it may read unseen, from the
  // kernel's pages.
  bool other_readers(Ino ino, const std::vector<Process>& than) const;

  // Processes, but for this one, that have the file open for reading, and not past the pages.
  std::vector<Process> readers(Ino ino, const Process& but) const;

  // The process is told of the file, as it was then.
  void told_size(OpenFile& file, const Process& process, const Sight& sight);

  // What the process reads next through its handles of the file, it reads anew.
  void read_anew(Ino ino, const Process& opener);

  // Handles of the file through which locks were set may not write any more.
  void locks_lost(Ino ino);

  // Somebody else than who asks through this handle may have mapped the file and written to the
  // mapping: bytes that the kernel has not told us.
  bool mapped_by_other(const FileHandle& asking, const Process& asker) const;

  Handle open_directory();

 private:
  SpoolPlace* place_;         // not owned
  mutable std::mutex mutex_;  // before OpenFile's
  std::unordered_map<Handle, std::shared_ptr<FileHandle>> handles_;
  std::unordered_map<Ino, std::shared_ptr<OpenFile>> files_;
};

}  // namespace linkspan::vfs
