// The only code that turns protobuf into domain types and back. Everything from the wire is checked
// here, in both directions - a hostile client must not crash a router, nor a hostile router a
// mount: an out-of-range kind, name, length or count is Code::invalid (names that are too long
// Code::name_too_long, sizes past limits::kFileBytes Code::too_large), with the field's name in the
// message. What to_wire() is given came from our own side and is not checked again, except that
// text for people is made valid UTF-8 (else the peer could not parse the message) and cut to its
// limit.
//
// Threads: pure functions, callable from any. The gRPC status of each error: convert_status.h.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "linkspan/error.h"
#include "linkspan/ops.h"
#include "linkspan/token_ops.h"
#include "linkspan/types.h"
#include "linkspan/v1/fs.pb.h"
#include "linkspan/v1/session.pb.h"
#include "linkspan/v1/types.pb.h"

namespace linkspan::wire {

// ---- single things, for those who check input of other origin by the same rules ----------------

// 1..255 bytes, no NUL, no '/', neither "." nor "..".
Status check_name(std::string_view field, std::string_view name);
// A route's path: names joined by '/', no leading or trailing slash, not ".linkspan" at the top.
Status check_route_path(std::string_view path);
// Text for people: valid UTF-8, control characters but tab and newline replaced, at most `limit`
// bytes.
std::string clean_text(std::string_view text, size_t limit);
std::string_view to_string(Policy policy);
Result<Policy> policy_from(std::string_view text);
Result<Access> access_from(std::string_view field, uint32_t number);
// An error code's number; one that is not known here (of a newer peer) is Code::internal.
Code code_from(uint32_t code);

// ---- nodes and history -------------------------------------------------------------------------

void to_wire(const Attr& attr, v1::Attr* out);
Result<Attr> from_wire(const v1::Attr& m);
void to_wire(Node&& node, v1::Node* out);
Result<Node> from_wire(v1::Node&& m);
void to_wire(const Route& route, v1::Route* out);  // without volume_id, which stays in the router
Result<Route> from_wire(const v1::Route& m);
void to_wire(const OpHeader& op, v1::OpHeader* out);
Result<OpHeader> from_wire(const v1::OpHeader& m);
void to_wire(const Change& change, v1::Change* out);
Result<Change> from_wire(v1::Change&& m);
void to_wire(const VersionInfo& info, v1::VersionInfo* out);
Result<VersionInfo> from_wire(v1::VersionInfo&& m);
void to_wire(const Conflict& conflict, v1::Conflict* out);
Result<Conflict> from_wire(v1::Conflict&& m);

// ---- reads -------------------------------------------------------------------------------------

struct PrefetchRequest {
  Ino dir;
  uint64_t max_bytes = 0;
  uint32_t max_nodes = 0;
};
struct PrefetchPage {
  Ino dir;
  ReadDirReply page;
};

void to_wire(const LookupRequest& request, v1::LookupRequest* out);
void to_wire(const GetAttrRequest& request, v1::GetAttrRequest* out);
void to_wire(const ReadDirRequest& request, v1::ReadDirRequest* out);
void to_wire(const ReadRequest& request, v1::ReadRequest* out);
void to_wire(const DataRangesRequest& request, v1::DataRangesRequest* out);
void to_wire(Ino ino, v1::XattrsRequest* out);
void to_wire(Ino ino, v1::StatFsRequest* out);
void to_wire(const VersionsRequest& request, v1::VersionsRequest* out);
void to_wire(const ChangesRequest& request, v1::ChangesRequest* out);
void to_wire(const ConflictsRequest& request, v1::ConflictsRequest* out);
void to_wire(const PrefetchRequest& request, v1::PrefetchRequest* out);
Result<LookupRequest> from_wire(const v1::LookupRequest& m);
Result<GetAttrRequest> from_wire(const v1::GetAttrRequest& m);
Result<ReadDirRequest> from_wire(const v1::ReadDirRequest& m);
Result<ReadRequest> from_wire(const v1::ReadRequest& m);
Result<DataRangesRequest> from_wire(const v1::DataRangesRequest& m);
Result<Ino> from_wire(const v1::XattrsRequest& m);
Result<Ino> from_wire(const v1::StatFsRequest& m);
Result<VersionsRequest> from_wire(const v1::VersionsRequest& m);
Result<ChangesRequest> from_wire(const v1::ChangesRequest& m);
Result<ConflictsRequest> from_wire(const v1::ConflictsRequest& m);
Result<PrefetchRequest> from_wire(const v1::PrefetchRequest& m);

// Replies are moved: their content is not copied.
void to_wire(LookupReply&& reply, v1::LookupReply* out);
void to_wire(NodeReply&& reply, v1::NodeReply* out);
void to_wire(ReadDirReply&& reply, v1::ReadDirReply* out);
void to_wire(ReadReply&& reply, v1::ReadReply* out);
void to_wire(const DataRangesReply& reply, v1::DataRangesReply* out);
void to_wire(XattrsReply&& reply, v1::XattrsReply* out);
void to_wire(const StatFsReply& reply, v1::StatFsReply* out);
void to_wire(const std::vector<VersionInfo>& versions, v1::VersionsReply* out);
void to_wire(const ChangesReply& reply, v1::ChangesReply* out);
void to_wire(const ConflictsReply& reply, v1::ConflictsReply* out);
void to_wire(PrefetchPage&& page, v1::PrefetchReply* out);
Result<LookupReply> from_wire(v1::LookupReply&& m);
Result<NodeReply> from_wire(v1::NodeReply&& m);
Result<ReadDirReply> from_wire(v1::ReadDirReply&& m);
Result<ReadReply> from_wire(v1::ReadReply&& m);
Result<DataRangesReply> from_wire(v1::DataRangesReply&& m);
Result<XattrsReply> from_wire(v1::XattrsReply&& m);
Result<StatFsReply> from_wire(v1::StatFsReply&& m);
Result<std::vector<VersionInfo>> from_wire(v1::VersionsReply&& m);
Result<ChangesReply> from_wire(v1::ChangesReply&& m);
Result<ConflictsReply> from_wire(v1::ConflictsReply&& m);
Result<PrefetchPage> from_wire(v1::PrefetchReply&& m);

// ---- mutations ---------------------------------------------------------------------------------

void to_wire(const CreateRequest& request, v1::CreateRequest* out);
void to_wire(const RemoveRequest& request, v1::RemoveRequest* out);
void to_wire(const RenameRequest& request, v1::RenameRequest* out);
void to_wire(const LinkRequest& request, v1::LinkRequest* out);
void to_wire(const SetAttrRequest& request, v1::SetAttrRequest* out);
void to_wire(const SetXattrRequest& request, v1::SetXattrRequest* out);
void to_wire(const SettleRequest& request, v1::SettleRequest* out);
void to_wire(OpNumber number, v1::GiveUpRequest* out);
void to_wire(Seq seq, v1::GiveUpReply* out);
Result<CreateRequest> from_wire(const v1::CreateRequest& m);
Result<RemoveRequest> from_wire(const v1::RemoveRequest& m);
Result<RenameRequest> from_wire(const v1::RenameRequest& m);
Result<LinkRequest> from_wire(const v1::LinkRequest& m);
Result<SetAttrRequest> from_wire(const v1::SetAttrRequest& m);
Result<SetXattrRequest> from_wire(const v1::SetXattrRequest& m);
Result<SettleRequest> from_wire(const v1::SettleRequest& m);
Result<OpNumber> from_wire(const v1::GiveUpRequest& m);
Result<Seq> from_wire(v1::GiveUpReply&& m);
void to_wire(MutationReply&& reply, v1::MutationReply* out);
Result<MutationReply> from_wire(v1::MutationReply&& m);

// A commit's head, without its extents (CommitRequest::extents is not looked at, and left empty).
void to_wire(const CommitRequest& request, v1::CommitPart::Head* out);
Result<CommitRequest> from_wire(const v1::CommitPart::Head& m);

// Extents of one commit, part by part: holds each to its bounds and all of them to ascending order.
class ExtentReader {
 public:
  // Moves the part's extents to the end of `out`.
  Status take(v1::CommitPart&& part, std::vector<Extent>* out);

 private:
  Status check(const v1::Extent& m) const;
  uint64_t end_ = 0;  // of the last extent seen
};
void add_extent(Extent&& extent, v1::CommitPart* part);

// ---- sessions ----------------------------------------------------------------------------------

struct Attach {
  std::string token;  // secret: never logged
  std::string client;
  SessionId resume;  // 0: a new session
  std::string resume_secret;
  uint64_t resume_revocation = 0;
  std::string instance = {};  // secret: 32 bytes, or none
};
struct Attached {
  SessionId session;
  std::string secret;  // 16 bytes
  std::chrono::milliseconds lease{};
  std::vector<Route> routes;
  std::string tenant, principal, sandbox, router;
  Seq seq;
  bool resumed = false;
  Time token_expires;                  // ns == 0: never
  std::chrono::seconds token_renew{};  // 0: it does not end so long after its last mount
};
void to_wire(const Attach& request, v1::AttachRequest* out);
Result<Attach> from_wire(const v1::AttachRequest& m);
void to_wire(const Attached& reply, v1::AttachReply* out);
Result<Attached> from_wire(v1::AttachReply&& m);

struct Narrow {
  NarrowProof proof;
  NarrowRequest request;
};
void to_wire(const Narrow& ask, v1::NarrowRequest* out);
Result<Narrow> from_wire(const v1::NarrowRequest& m);
void to_wire(const NarrowReply& reply, v1::NarrowReply* out);
Result<NarrowReply> from_wire(v1::NarrowReply&& m);

// The value of the metadata key kSessionKey: which session a call is of, proved by its secret.
inline constexpr char kSessionKey[] = "linkspan-session-bin";
struct Credential {
  SessionId session;
  std::string secret;  // 16 bytes
};
std::string encode_credential(const Credential& credential);
Result<Credential> decode_credential(
    std::string_view metadata);  // session_lost names what is wrong

struct Hello {
  uint64_t last_revocation = 0;
};
struct Renew {
  OpNumber answered_below;
  uint64_t nonce = 0;
};
struct Ack {
  uint64_t revocation = 0;
};
using ClientFrame = std::variant<Hello, Renew, Ack>;
void to_wire(const ClientFrame& frame, v1::ClientFrame* out);
Result<ClientFrame> from_wire(const v1::ClientFrame& m);

struct Welcome {
  std::chrono::milliseconds lease{};
  bool resumed = false;
};
struct Renewed {
  uint64_t nonce = 0;
  std::chrono::milliseconds lease{};
};
struct End {
  Error why;
};
using RouterFrame = std::variant<Welcome, Renewed, Revocation, End>;
void to_wire(const Welcome& frame, v1::RouterFrame* out);
void to_wire(const Renewed& frame, v1::RouterFrame* out);
// More than limits::kRevokedItems nodes or names become `everything`.
void to_wire(const Revocation& revocation, v1::RouterFrame* out);
void to_wire(const End& frame, v1::RouterFrame* out);
Result<RouterFrame> from_wire(v1::RouterFrame&& m);

}  // namespace linkspan::wire
