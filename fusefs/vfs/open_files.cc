#include "fusefs/vfs/open_files.h"

#include <algorithm>

namespace linkspan::vfs {
namespace {

// Counted over all routes of a mount: two may show one file, and the owner of a flock is a handle.
Handle new_handle() {
  static std::atomic<Handle> last{0};
  return ++last;
}

}  // namespace

std::optional<SizedVersion> FileHandle::going_on(bool in_sequence) {
  std::lock_guard lock(goes_on_mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (!in_sequence || now - goes_on_since_ > kGoesOn) goes_on_.reset();
  return goes_on_;
}

void FileHandle::goes_on(const SizedVersion& with) {
  std::lock_guard lock(goes_on_mutex_);
  if (!goes_on_) goes_on_since_ = std::chrono::steady_clock::now();
  goes_on_ = with;
}

void FileHandle::ended() {
  std::lock_guard lock(goes_on_mutex_);
  goes_on_.reset();
}

Handle OpenFiles::open(Ino ino, const Process& opener, bool reads, bool writes) {
  auto handle = std::make_shared<FileHandle>();
  handle->opener = opener;
  handle->reads = reads;
  handle->writes = writes;
  std::lock_guard lock(mutex_);
  auto& file = files_[ino];
  if (!file) file = std::make_shared<OpenFile>(ino, place_);
  ++file->handles;
  handle->file = file;
  handle->errors_seen = file->errors.count();
  const Handle h = new_handle();
  handles_.emplace(h, std::move(handle));
  return h;
}

std::shared_ptr<FileHandle> OpenFiles::handle(Handle h) const {
  std::lock_guard lock(mutex_);
  auto it = handles_.find(h);
  return it == handles_.end() ? nullptr : it->second;
}

std::shared_ptr<OpenFile> OpenFiles::close(Handle h) {
  std::lock_guard lock(mutex_);
  auto it = handles_.find(h);
  if (it == handles_.end()) return nullptr;
  const std::shared_ptr<OpenFile> file = it->second->file;
  handles_.erase(it);
  file->closed(h);
  if (--file->handles > 0) return nullptr;
  if (file->dirty()) return file;
  files_.erase(file->ino);
  return nullptr;
}

void OpenFiles::retire(Ino ino) {
  std::lock_guard lock(mutex_);
  auto it = files_.find(ino);
  if (it != files_.end() && it->second->handles == 0 && !it->second->dirty()) files_.erase(it);
}

std::shared_ptr<OpenFile> OpenFiles::find(Ino ino) const {
  std::lock_guard lock(mutex_);
  auto it = files_.find(ino);
  return it == files_.end() ? nullptr : it->second;
}

std::vector<std::shared_ptr<OpenFile>> OpenFiles::dirty() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<OpenFile>> files;
  for (const auto& [ino, file] : files_)
    if (file->dirty()) files.push_back(file);
  return files;
}

unsigned OpenFiles::handles_of(Ino ino) const {
  std::lock_guard lock(mutex_);
  auto it = files_.find(ino);
  return it == files_.end() ? 0 : it->second->handles;
}

unsigned OpenFiles::writing_handles_of(Ino ino, const Process& opener,
                                       const FileHandle* but) const {
  std::lock_guard lock(mutex_);
  unsigned found = 0;
  for (const auto& [number, handle] : handles_)
    if (handle.get() != but && handle->file->ino == ino && handle->writes &&
        handle->opener == opener)
      ++found;
  return found;
}

bool OpenFiles::other_readers(Ino ino, const std::vector<Process>& than) const {
  std::lock_guard lock(mutex_);
  auto it = files_.find(ino);
  if (it == files_.end() || it->second->handles < 2) return false;
  return std::any_of(handles_.begin(), handles_.end(), [&](const auto& entry) {
    const FileHandle& handle = *entry.second;
    return handle.reads && handle.file->ino == ino &&
           std::find(than.begin(), than.end(), handle.opener) == than.end();
  });
}

std::vector<Process> OpenFiles::readers(Ino ino, const Process& but) const {
  std::lock_guard lock(mutex_);
  std::vector<Process> found;
  for (const auto& [number, handle] : handles_)
    if (handle->file->ino == ino && handle->reads && !handle->direct && handle->opener != but)
      found.push_back(handle->opener);
  return found;
}

void OpenFiles::locks_lost(Ino ino) {
  std::lock_guard lock(mutex_);
  for (const auto& [h, handle] : handles_)
    if (handle->file->ino == ino && handle->locks) handle->locks_lost = true;
}

void OpenFiles::told_size(OpenFile& file, const Process& process, const Sight& sight) {
  std::vector<std::shared_ptr<FileHandle>> its;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [h, handle] : handles_)
      if (handle->file.get() == &file && handle->opener == process) its.push_back(handle);
  }
  for (const auto& handle : its) file.told_size(sight, &handle->read_state);
}

void OpenFiles::read_anew(Ino ino, const Process& opener) {
  std::lock_guard lock(mutex_);
  for (const auto& [h, handle] : handles_)
    if (handle->file->ino == ino && handle->opener == opener)
      handle->file->begin_anew(&handle->read_state);
}

bool OpenFiles::mapped_by_other(const FileHandle& asking, const Process& asker) const {
  std::lock_guard lock(mutex_);
  if (asking.file->handles < 2) return false;
  return std::any_of(handles_.begin(), handles_.end(), [&](const auto& entry) {
    const FileHandle& handle = *entry.second;
    return handle.reads && handle.writes && handle.file == asking.file && &handle != &asking &&
           (!asker || handle.opener != asker);
  });
}

Handle OpenFiles::open_directory() {
  return new_handle();
}

}  // namespace linkspan::vfs
