// What a request must satisfy before a store looks at its nodes: the same checks, with the same
// codes, in every store. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "linkspan/ops.h"
#include "routerd/store/store.h"

namespace linkspan::store {

// `invalid` (empty, ".", "..", NUL or '/'), `name_too_long`.
Status check_name(const std::string& name);

Status check(const LookupRequest& request);
Status check(const ReadDirRequest& request);   // `invalid`: limit outside 1..kPageEntries
Status check(const ReadRequest& request);      // `invalid`: length above kReadBytes
Status check(const VersionsRequest& request);  // `invalid`: limit outside 1..kHistoryPage
Status check(const ChangesRequest& request);   // `invalid`: limit outside 1..kHistoryPage
Status check(const CreateRequest& request);    // and `name_too_long` for a symlink's target
Status check(const RemoveRequest& request);
Status check(const RenameRequest& request);  // `invalid`: no_replace together with exchange
Status check(const LinkRequest& request);
Status check(const SetAttrRequest& request);  // `too_large`; `invalid`: relaxed beside an atime
Status check(const CommitRequest& request);   // `too_large`
Status check(const ConflictsRequest& request);
Status check(const SettleRequest& request);
Status check(const KeepRequest& request);  // `too_large`; `invalid`: no operation
// How many tokens were narrowed from one, and from the configured one above it.
struct TokenFamily {
  uint64_t children = 0, all = 0;
};
Status check_family(const TokenFamily& family);  // `busy`: there is no room for one more
Error no_token();                                // `not_found`
Error no_parent();                               // `not_found`
Error no_conflict(Seq number);                   // `not_found`
// Of a commit's or a truncation's result, and whether it changes bytes that were there: `too_large`
// (a file that is larger already may stay so), `not_permitted`.
Status check_bounds(const Mutation::Bounds& bounds, uint64_t old_size, uint64_t new_size,
                    bool changes_bytes);
// `head`: the file that a rename replaces, or whose history it goes on with; null: none.
// `conflict`.
Status check_rename_base(const RenameRequest& request, const Attr* head);
// `conflict`.
Status check_commit_base(const CommitRequest& request, const Attr& head);
// Whether another file of its volume goes on with the history of this one, which the author moved
// away (Mutation::continues).
bool goes_on(const Mutation& mutation, const Attr& moved_away);
// VersionInfo::what of MutationReply::unmerged.
inline constexpr const char* kUnmerged = "unmerged";
// The highest version of a file that was created and written once, as the new file of a save is.
inline constexpr uint64_t kWrittenOnce = 2;
// Versions of one session that grow, each so soon after the one before, are parts of one writing.
inline constexpr int64_t kOneWritingNs = 2'000'000'000;
Error changed_by_another(Version head);        // `conflict`: a commit's base is not the head
Error replaced_by_another();                   // `conflict`, head_version 0
Status check(const SetXattrRequest& request);  // `attribute_too_big`
// XATTR_LIST_MAX: what listxattr(2) can return, the names with a NUL each.
inline constexpr size_t kXattrListBytes = 64 << 10;
// A node has kXattrs attributes already, or kXattrListBytes of names: `no_space`.
Error too_many_xattrs();

// Takes a commit's extents one by one and refuses what the contract forbids: `invalid` (not
// ascending, overlapping, above kExtentBytes of data, data of another length than said, past the
// end of the new content), `too_large` (an append past kFileBytes). Empty extents are skipped.
class ExtentReader {
 public:
  // The bound of an extent's end: the new size, or for an append what fits behind the end of file.
  static ExtentReader replacing(ExtentSource* source, uint64_t size) {
    return ExtentReader(source, size, Code::invalid);
  }
  static ExtentReader appending(ExtentSource* source, uint64_t end_of_file);

  Result<bool> next(Extent* out);        // false: no more
  uint64_t end() const { return end_; }  // of the extents so far

 private:
  ExtentReader(ExtentSource* source, uint64_t bound, Code beyond)
      : source_(source), bound_(bound), beyond_(beyond) {}

  ExtentSource* source_;  // may be null: no extents
  uint64_t bound_;
  Code beyond_;
  uint64_t end_ = 0;
};

}  // namespace linkspan::store
