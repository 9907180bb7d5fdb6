#include "fusefs/cli/conflict_folders.h"

#include <algorithm>

#include "fusefs/cli/mount_report.h"
#include "fusefs/cli/query_json.h"
#include "linkspan/limits.h"

namespace linkspan::cli {

namespace {

using Folder = fuse::LiveFolders::Folder;

constexpr Version kRefused{1};  // of the node that keeps what was refused

client::Call call_of(const vfs::Caller& caller) {
  client::Call call;
  call.deadline = std::chrono::steady_clock::now() + kConflictsTimeout;
  call.cancel = caller.cancel;
  call.away = kConflictsTimeout;
  return call;
}

Folder folder_of(const Conflict& conflict) {
  return {conflict.number.value, conflict_folder(conflict), conflict.at};
}

// The number that a folder's name begins with; 0: none.
uint64_t number_in(const std::string& name) {
  uint64_t number = 0;
  size_t at = 0;
  for (; at < name.size() && name[at] >= '0' && name[at] <= '9'; ++at) {
    if (number >= fuse::LiveFolders::kNumbers) return 0;
    number = number * 10 + static_cast<uint64_t>(name[at] - '0');
  }
  return at < name.size() && name[at] == '-' ? number : 0;
}

Error none(uint64_t number) {
  return fail(Code::not_found, "there is no open conflict " + std::to_string(number));
}

}  // namespace

std::string conflict_folder(const Conflict& conflict) {
  const std::string number = std::to_string(conflict.number.value) + "-";
  const auto name = conflict.path.substr(conflict.path.find_last_of('/') + 1);
  return number + name.substr(0, limits::kNameBytes - number.size());
}

std::string conflict_place(const Conflict& conflict, const std::vector<Route>& routes) {
  for (const bool writable : {true, false})
    for (const auto& route : routes)
      if (route.volume == conflict.volume && route.writable() == writable)
        return route.path + "/" + conflict.path;
  return "(volume " + conflict.volume + ") " + conflict.path;
}

std::string conflict_info(const Conflict& conflict, const std::string& place) {
  const auto number = std::to_string(conflict.number.value);
  const auto version = [](Version v) { return std::to_string(v.value); };
  std::string text = "conflict  " + number + "\n";
  text += "file      " + printable(place) + "\n";
  text += "refused   " + printable(conflict.what) + " by " + printable(conflict.principal) + "@" +
          printable(conflict.sandbox) + ", " + std::to_string(conflict.size) + " bytes\n";
  text += "time      " + format_time(conflict.at) + "\n";
  text += "session   " + session_text(conflict.session) + "\n";
  text += conflict.base ? "base      version " + version(conflict.base) +
                              ", which the writer had read: in `base`, if it is kept still\n"
                        : "base      the writer had read no version of it\n";
  text += conflict.head ? "head      version " + version(conflict.head) +
                              ", which the file was instead: in `head`\n"
                        : "head      the file was gone\n";
  text += "theirs    what was refused, whole: in `theirs`\n\nSettle it with one of\n";
  text += "  linkspan resolve " + number + " --ours           the file stays as it is\n";
  text +=
      "  linkspan resolve " + number + " --theirs         what was refused becomes its content\n";
  text += "  linkspan resolve " + number + " --merged FILE    FILE becomes its content\n";
  text += "or look at it elsewhere first:\n";
  text += "  linkspan restore --conflict " + number + " --to PATH\n";
  return text;
}

Result<Conflict> ConflictFolders::conflict(const vfs::Caller& caller, uint64_t number) const {
  if (number == 0) return none(number);
  LINKSPAN_TRY(auto reply, client_->conflicts(call_of(caller), {Seq{number - 1}, 1}));
  if (reply.conflicts.empty() || reply.conflicts.front().number.value != number)
    return none(number);
  return std::move(reply.conflicts.front());
}

Result<std::vector<Folder>> ConflictFolders::list(const vfs::Caller& caller, uint64_t after,
                                                  size_t limit) {
  ConflictsRequest request{Seq{after},
                           std::min(static_cast<uint32_t>(limit), limits::kHistoryPage)};
  LINKSPAN_TRY(const auto reply, client_->conflicts(call_of(caller), request));
  std::vector<Folder> folders;
  for (const auto& conflict : reply.conflicts)
    if (conflict.number.value < kNumbers) folders.push_back(folder_of(conflict));
  return folders;
}

Result<Folder> ConflictFolders::folder(const vfs::Caller& caller, uint64_t number) {
  LINKSPAN_TRY(const auto found, conflict(caller, number));
  return folder_of(found);
}

Result<Folder> ConflictFolders::find(const vfs::Caller& caller, const std::string& name) {
  const uint64_t number = number_in(name);
  if (number == 0) return fail(Code::not_found, "there is no conflict " + name);
  LINKSPAN_TRY(auto found, folder(caller, number));
  if (found.name != name) return fail(Code::not_found, "there is no conflict " + name);
  return found;
}

// What is pruned is left out.
Status ConflictFolders::add(const vfs::Caller& caller, const Conflict& conflict, const char* name,
                            size_t slot, const ReadRequest& what, std::vector<File>* files) const {
  if (!what.ino || !what.version) return ok();
  ReadRequest probe = what;
  probe.length = 1;
  const auto found = client_->read(call_of(caller), probe);
  if (!found.ok() && (found.code() == Code::not_found || found.code() == Code::stale_node))
    return ok();
  if (!found.ok()) return found.error();
  const auto read = [client = client_, what](const vfs::Caller& reader, uint64_t offset,
                                             size_t size) -> Result<std::string> {
    ReadRequest request = what;
    request.offset = offset;
    request.length = static_cast<uint32_t>(std::min(size, limits::kReadBytes));
    LINKSPAN_TRY(auto reply, client->read(call_of(reader), request));
    return std::move(reply.data);
  };
  files->push_back({name, slot, found->size, conflict.at, owner_only_, read});
  return ok();
}

Result<std::vector<fuse::LiveFolders::File>> ConflictFolders::files(const vfs::Caller& caller,
                                                                    uint64_t number) {
  LINKSPAN_TRY(const auto found, conflict(caller, number));
  std::vector<File> files;
  const auto info = conflict_info(found, conflict_place(found, routes_));
  const auto read_info = [info](const vfs::Caller&, uint64_t offset,
                                size_t size) -> Result<std::string> {
    return info.substr(std::min<uint64_t>(offset, info.size()), size);
  };
  files.push_back({"info", 1, info.size(), found.at, false, read_info});
  LINKSPAN_CHECK(add(caller, found, "base", 2, {found.base_ino, found.base, 0, 0}, &files));
  LINKSPAN_CHECK(add(caller, found, "head", 3, {found.ino, found.head, 0, 0}, &files));
  LINKSPAN_CHECK(add(caller, found, "theirs", 4, {found.theirs, kRefused, 0, 0}, &files));
  return files;
}

}  // namespace linkspan::cli
