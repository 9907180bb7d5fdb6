#include "routerd/store/checks.h"

#include <algorithm>

#include "linkspan/limits.h"

namespace linkspan::store {
namespace {

constexpr uint32_t kModeBits = 07777;

Status check_limit(uint32_t limit, uint32_t most) {
  if (limit >= 1 && limit <= most) return ok();
  return fail(Code::invalid,
              "limit " + std::to_string(limit) + " is outside 1.." + std::to_string(most));
}

Status check_mode(uint32_t mode) {
  if ((mode & ~kModeBits) == 0) return ok();
  return fail(Code::invalid, "mode has bits outside 07777");
}

Status check_size(uint64_t size) {
  if (size <= limits::kFileBytes) return ok();
  return fail(Code::too_large,
              "a file may have at most " + std::to_string(limits::kFileBytes) + " bytes");
}

}  // namespace

Error too_many_xattrs() {
  return fail(Code::no_space, "a node may have at most " + std::to_string(limits::kXattrs) +
                                  " attributes, and their names at most " +
                                  std::to_string(kXattrListBytes) + " bytes");
}

Status check_name(const std::string& name) {
  if (name.size() > limits::kNameBytes)
    return fail(Code::name_too_long, "a name may have at most 255 bytes");
  if (name.empty() || name == "." || name == "..")
    return fail(Code::invalid, "'" + name + "' is not a name that can be stored");
  if (name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
    return fail(Code::invalid, "a name may not contain '/' or NUL");
  return ok();
}

Status check(const LookupRequest& request) {
  return check_name(request.name);
}

Status check(const ReadDirRequest& request) {
  return check_limit(request.limit, limits::kPageEntries);
}

Status check(const ReadRequest& request) {
  if (request.length <= limits::kReadBytes) return ok();
  return fail(Code::invalid,
              "one read is at most " + std::to_string(limits::kReadBytes) + " bytes");
}

Status check(const VersionsRequest& request) {
  return check_limit(request.limit, limits::kHistoryPage);
}

Status check(const ChangesRequest& request) {
  constexpr uint64_t kMost = INT64_MAX;
  if (request.after.value > kMost || request.before.value > kMost)
    return fail(Code::invalid, "there is no change of that number");
  if (request.below.size() > limits::kPathBytes || request.below.find('\0') != std::string::npos)
    return fail(Code::invalid, "`below` is not a path");
  return check_limit(request.limit, limits::kHistoryPage);
}

Status check(const ConflictsRequest& request) {
  return check_limit(request.limit, limits::kHistoryPage);
}

Status check(const SettleRequest& request) {
  if (request.number) return ok();
  return fail(Code::invalid, "there is no conflict 0");
}

Status check_family(const TokenFamily& family) {
  if (family.children >= limits::kTokenChildren)
    return fail(Code::busy, "the token has " + std::to_string(family.children) +
                                " narrower ones already; let some expire, or give them shorter "
                                "times");
  if (family.all >= limits::kTokenFamily)
    return fail(Code::busy, "there are " + std::to_string(family.all) +
                                " narrower tokens of the operator's one already; let some expire");
  return ok();
}

Error no_token() {
  return fail(Code::not_found, "there is no such token");
}

Error no_parent() {
  return fail(Code::not_found, "the token to narrow is not there any more");
}

Error no_conflict(Seq number) {
  return fail(Code::not_found, "there is no unsettled conflict " + std::to_string(number.value));
}

Status check_bounds(const Mutation::Bounds& bounds, uint64_t old_size, uint64_t new_size,
                    bool changes_bytes) {
  if (bounds.keeps_bytes && (changes_bytes || new_size < old_size))
    return fail(Code::not_permitted, "the file may only be added to at its end");
  if (new_size > std::max(bounds.max_bytes, old_size))
    return fail(Code::too_large,
                "the file may have at most " + std::to_string(bounds.max_bytes) + " bytes here");
  return ok();
}

Status check_rename_base(const RenameRequest& request, const Attr* head) {
  if (!request.base_ino) return ok();
  if (head != nullptr && head->ino == request.base_ino && head->version == request.base_version)
    return ok();
  Error error = fail(Code::conflict, "'" + request.to_name + "' was changed by another");
  error.head_version = head == nullptr ? 0 : head->version.value;
  return error;
}

Status check_commit_base(const CommitRequest& request, const Attr& head) {
  if (!request.base) return ok();
  const bool own = !request.base_ino || request.base_ino == head.ino;
  return own && *request.base == head.version ? ok() : Status(changed_by_another(head.version));
}

bool goes_on(const Mutation& mutation, const Attr& moved_away) {
  const auto& continues = mutation.continues;
  return continues && moved_away.ino == continues->ino &&
         moved_away.version == continues->version && moved_away.kind == Kind::file &&
         moved_away.nlink == 1;
}

Error changed_by_another(Version head) {
  Error error = fail(Code::conflict, "the file was changed by another");
  error.head_version = head.value;
  return error;
}

Error replaced_by_another() {
  return fail(Code::conflict, "the file was replaced by another");
}

Status check(const KeepRequest& request) {
  if (!request.operation)
    return fail(Code::invalid, "a conflict needs the number of the operation that left it");
  return check_size(request.size);
}

Status check(const CreateRequest& request) {
  LINKSPAN_CHECK(check_name(request.name));
  LINKSPAN_CHECK(check_mode(request.mode));
  const auto kind = static_cast<unsigned>(request.kind);
  if (kind < static_cast<unsigned>(Kind::file) || kind > static_cast<unsigned>(Kind::socket))
    return fail(Code::invalid, "unknown kind of node");
  if (request.kind != Kind::symlink && !request.target.empty())
    return fail(Code::invalid, "only a symlink has a target");
  if (request.kind != Kind::symlink) return ok();
  if (request.target.size() > limits::kSymlinkBytes)
    return fail(Code::name_too_long, "a symlink's target may have at most 4095 bytes");
  if (request.target.empty() || request.target.find('\0') != std::string::npos)
    return fail(Code::invalid, "a symlink's target may not be empty or contain NUL");
  return ok();
}

Status check(const RemoveRequest& request) {
  return check_name(request.name);
}

Status check(const RenameRequest& request) {
  LINKSPAN_CHECK(check_name(request.from_name));
  LINKSPAN_CHECK(check_name(request.to_name));
  if (request.no_replace && request.exchange)
    return fail(Code::invalid, "no_replace and exchange exclude each other");
  return ok();
}

Status check(const LinkRequest& request) {
  return check_name(request.name);
}

Status check(const SetAttrRequest& request) {
  if (request.mode) LINKSPAN_CHECK(check_mode(*request.mode));
  if (request.size) LINKSPAN_CHECK(check_size(*request.size));
  const bool more = request.mode || request.uid || request.gid || request.size || request.mtime ||
                    request.mtime_now;
  if (request.relaxed && more)
    return fail(Code::invalid, "a relaxed change may set an access time only");
  return ok();
}

Status check(const CommitRequest& request) {
  return request.append ? ok() : check_size(request.size);
}

Status check(const SetXattrRequest& request) {
  if (request.name.size() > limits::kXattrNameBytes)
    return fail(Code::name_too_long, "an attribute's name may have at most 255 bytes");
  if (request.name.empty() || request.name.find('\0') != std::string::npos)
    return fail(Code::invalid, "an attribute's name may not be empty or contain NUL");
  if (request.value && request.value->size() > limits::kXattrValueBytes)
    return fail(Code::attribute_too_big, "an attribute's value may have at most 65536 bytes");
  return ok();
}

ExtentReader ExtentReader::appending(ExtentSource* source, uint64_t end_of_file) {
  const uint64_t room = limits::kFileBytes - std::min(end_of_file, limits::kFileBytes);
  return ExtentReader(source, room, Code::too_large);
}

Result<bool> ExtentReader::next(Extent* out) {
  if (source_ == nullptr) return false;
  do {
    LINKSPAN_TRY(const bool more, source_->next(out));
    if (!more) return false;
    const bool hole = out->data.empty();
    if (!hole && (out->data.size() != out->length || out->length > limits::kExtentBytes))
      return fail(Code::invalid, "an extent's data does not have the length it says");
    if (out->offset < end_) return fail(Code::invalid, "extents overlap or are out of order");
    if (out->offset > bound_ || out->length > bound_ - out->offset)
      return fail(beyond_, "an extent lies past the end of the new content");
    end_ = out->offset + out->length;
  } while (out->length == 0);
  return true;
}

}  // namespace linkspan::store
