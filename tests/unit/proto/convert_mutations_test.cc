#include <gmock/gmock.h>

#include "linkspan/limits.h"
#include "tests/unit/proto/wire_trip.h"

namespace linkspan::wire {
namespace {

using ::testing::StartsWith;

const OpHeader kOp{OpNumber(9), OpNumber(4), true};

void expect_op(const OpHeader& op) {
  EXPECT_EQ(op.number, kOp.number);
  EXPECT_EQ(op.answered_below, kOp.answered_below);
  EXPECT_TRUE(op.retry);
}

TEST(ConvertMutations, OpHeadersAreChecked) {
  EXPECT_THAT(refusal(round_trip<v1::OpHeader>(OpHeader{})), StartsWith("invalid: op.number:"));
  EXPECT_THAT(refusal(round_trip<v1::OpHeader>(OpHeader{OpNumber(3), OpNumber(4), false})),
              StartsWith("invalid: op.answered_below:"));
  EXPECT_EQ(refusal(round_trip<v1::OpHeader>(OpHeader{OpNumber(4), OpNumber(4), false})),
            "accepted");
}

CreateRequest some_create() {
  CreateRequest request;
  request.op = kOp;
  request.parent = Ino(16);
  request.name = "link";
  request.kind = Kind::symlink;
  request.mode = 0777;
  request.uid = 5;
  request.gid = 6;
  request.target = "to";
  request.exclusive = false;
  return request;
}

TEST(ConvertMutations, CreateKeepsEveryField) {
  const auto back = round_trip<v1::CreateRequest>(some_create());
  ASSERT_TRUE(back.ok());
  expect_op(back->op);
  EXPECT_EQ(back->parent, Ino(16));
  EXPECT_EQ(back->name, "link");
  EXPECT_EQ(back->kind, Kind::symlink);
  EXPECT_EQ(back->mode, 0777u);
  EXPECT_EQ(back->uid, 5u);
  EXPECT_EQ(back->gid, 6u);
  EXPECT_EQ(back->target, "to");
  EXPECT_FALSE(back->exclusive);
}

TEST(ConvertMutations, CreateIsChecked) {
  const auto create = [](auto edit) {
    CreateRequest request = some_create();
    edit(request);
    return refusal(round_trip<v1::CreateRequest>(request));
  };
  EXPECT_THAT(create([](auto& r) { r.op = {}; }), StartsWith("invalid: op.number:"));
  EXPECT_THAT(create([](auto& r) { r.parent = {}; }), StartsWith("invalid: parent:"));
  EXPECT_THAT(create([](auto& r) { r.name = "."; }), StartsWith("invalid: name:"));
  EXPECT_THAT(create([](auto& r) { r.name = std::string(256, 'n'); }),
              StartsWith("name-too-long: name:"));
  EXPECT_THAT(create([](auto& r) { r.kind = static_cast<Kind>(0); }), StartsWith("invalid: kind:"));
  EXPECT_THAT(create([](auto& r) { r.kind = static_cast<Kind>(6); }), StartsWith("invalid: kind:"));
  EXPECT_THAT(create([](auto& r) { r.mode = 010000; }), StartsWith("invalid: mode:"));
  EXPECT_THAT(create([](auto& r) { r.target = ""; }), StartsWith("invalid: target:"));
  EXPECT_THAT(create([](auto& r) { r.kind = Kind::file; }), StartsWith("invalid: target:"));
}

TEST(ConvertMutations, RemoveAndLinkKeepEveryField) {
  const auto remove = round_trip<v1::RemoveRequest>(RemoveRequest{kOp, Ino(16), "a", true});
  ASSERT_TRUE(remove.ok());
  expect_op(remove->op);
  EXPECT_EQ(remove->parent, Ino(16));
  EXPECT_EQ(remove->name, "a");
  EXPECT_TRUE(remove->directory);
  const auto link = round_trip<v1::LinkRequest>(LinkRequest{kOp, Ino(17), Ino(16), "b"});
  ASSERT_TRUE(link.ok());
  expect_op(link->op);
  EXPECT_EQ(link->ino, Ino(17));
  EXPECT_EQ(link->parent, Ino(16));
  EXPECT_EQ(link->name, "b");
}

TEST(ConvertMutations, RemoveAndLinkAreChecked) {
  EXPECT_THAT(refusal(round_trip<v1::RemoveRequest>(RemoveRequest{kOp, Ino(0), "a", true})),
              StartsWith("invalid: parent:"));
  EXPECT_THAT(refusal(round_trip<v1::RemoveRequest>(RemoveRequest{kOp, Ino(1), "a/b", true})),
              StartsWith("invalid: name:"));
  EXPECT_THAT(refusal(round_trip<v1::LinkRequest>(LinkRequest{kOp, Ino(0), Ino(1), "a"})),
              StartsWith("invalid: ino:"));
  EXPECT_THAT(refusal(round_trip<v1::LinkRequest>(LinkRequest{kOp, Ino(1), Ino(0), "a"})),
              StartsWith("invalid: parent:"));
  EXPECT_THAT(refusal(round_trip<v1::LinkRequest>(LinkRequest{kOp, Ino(1), Ino(2), ""})),
              StartsWith("invalid: name:"));
}

RenameRequest some_rename() {
  RenameRequest request;
  request.op = kOp;
  request.from_parent = Ino(16);
  request.from_name = "tmp";
  request.to_parent = Ino(17);
  request.to_name = "MEMORY.md";
  request.no_replace = false;
  request.exchange = true;
  request.base_ino = Ino(18);
  request.base_version = Version(19);
  return request;
}

TEST(ConvertMutations, RenameKeepsEveryField) {
  const auto back = round_trip<v1::RenameRequest>(some_rename());
  ASSERT_TRUE(back.ok());
  expect_op(back->op);
  EXPECT_EQ(back->from_parent, Ino(16));
  EXPECT_EQ(back->from_name, "tmp");
  EXPECT_EQ(back->to_parent, Ino(17));
  EXPECT_EQ(back->to_name, "MEMORY.md");
  EXPECT_FALSE(back->no_replace);
  EXPECT_TRUE(back->exchange);
  EXPECT_EQ(back->base_ino, Ino(18));
  EXPECT_EQ(back->base_version, Version(19));
}

TEST(ConvertMutations, RenameIsChecked) {
  const auto rename = [](auto edit) {
    RenameRequest request = some_rename();
    edit(request);
    return refusal(round_trip<v1::RenameRequest>(request));
  };
  EXPECT_THAT(rename([](auto& r) { r.from_parent = {}; }), StartsWith("invalid: from_parent:"));
  EXPECT_THAT(rename([](auto& r) { r.from_name = ".."; }), StartsWith("invalid: from_name:"));
  EXPECT_THAT(rename([](auto& r) { r.to_parent = {}; }), StartsWith("invalid: to_parent:"));
  EXPECT_THAT(rename([](auto& r) { r.to_name = ""; }), StartsWith("invalid: to_name:"));
  EXPECT_THAT(rename([](auto& r) { r.no_replace = true; }), StartsWith("invalid: exchange:"));
  EXPECT_THAT(rename([](auto& r) { r.base_version = Version(UINT64_MAX); }),
              StartsWith("invalid: base_version:"));
}

TEST(ConvertMutations, SetAttrKeepsWhatIsThereAndWhatIsNot) {
  SetAttrRequest all;
  all.op = kOp;
  all.ino = Ino(5);
  all.mode = 0;
  all.uid = 0;
  all.gid = UINT32_MAX - 1;
  all.size = 0;
  all.atime = Time{0};
  all.mtime = Time{-1};
  all.relaxed = true;
  const auto back = round_trip<v1::SetAttrRequest>(all);
  ASSERT_TRUE(back.ok());
  expect_op(back->op);
  EXPECT_EQ(back->ino, Ino(5));
  EXPECT_EQ(back->mode, all.mode);
  EXPECT_EQ(back->uid, all.uid);
  EXPECT_EQ(back->gid, all.gid);
  EXPECT_EQ(back->size, all.size);
  EXPECT_EQ(back->atime, all.atime);
  EXPECT_EQ(back->mtime, all.mtime);
  EXPECT_TRUE(back->relaxed);

  SetAttrRequest none;
  none.op = kOp;
  none.ino = Ino(5);
  none.atime_now = none.mtime_now = true;
  const auto bare = round_trip<v1::SetAttrRequest>(none);
  ASSERT_TRUE(bare.ok());
  EXPECT_FALSE(bare->mode || bare->uid || bare->gid || bare->size || bare->atime || bare->mtime);
  EXPECT_TRUE(bare->atime_now && bare->mtime_now);
  EXPECT_FALSE(bare->relaxed);
}

TEST(ConvertMutations, SetAttrIsChecked) {
  const auto set = [](auto edit) {
    SetAttrRequest request;
    request.op = kOp;
    request.ino = Ino(5);
    edit(request);
    return refusal(round_trip<v1::SetAttrRequest>(request));
  };
  EXPECT_THAT(set([](auto& r) { r.ino = {}; }), StartsWith("invalid: ino:"));
  EXPECT_THAT(set([](auto& r) { r.mode = 0100000; }), StartsWith("invalid: mode:"));
  EXPECT_THAT(set([](auto& r) { r.size = limits::kFileBytes + 1; }),
              StartsWith("too-large: size:"));
}

TEST(ConvertMutations, SetXattrTellsAnEmptyValueFromNone) {
  SetXattrRequest request{kOp, Ino(5), "user.a", std::string(), true, false};
  auto back = round_trip<v1::SetXattrRequest>(request);
  ASSERT_TRUE(back.ok());
  expect_op(back->op);
  EXPECT_EQ(back->ino, Ino(5));
  EXPECT_EQ(back->name, "user.a");
  EXPECT_EQ(back->value, std::optional<std::string>(""));
  EXPECT_TRUE(back->create);
  EXPECT_FALSE(back->replace);
  request.value.reset();
  EXPECT_FALSE(round_trip<v1::SetXattrRequest>(request)->value.has_value());
}

TEST(ConvertMutations, SetXattrIsChecked) {
  const auto set = [](auto edit) {
    SetXattrRequest request{kOp, Ino(5), "user.a", "v", false, false};
    edit(request);
    return refusal(round_trip<v1::SetXattrRequest>(request));
  };
  EXPECT_THAT(set([](auto& r) { r.ino = {}; }), StartsWith("invalid: ino:"));
  EXPECT_THAT(set([](auto& r) { r.name = ""; }), StartsWith("invalid: name:"));
  EXPECT_THAT(set([](auto& r) { r.value = std::string(limits::kXattrValueBytes + 1, 'v'); }),
              StartsWith("invalid: value:"));
  EXPECT_THAT(set([](auto& r) { r.create = r.replace = true; }), StartsWith("invalid: replace:"));
}

TEST(ConvertCommit, HeadKeepsEveryField) {
  CommitRequest request;
  request.op = kOp;
  request.ino = Ino(5);
  request.base = Version(0);
  request.keep_below = UINT64_MAX;
  request.size = limits::kFileBytes;
  request.append = true;
  request.mtime = Time{-7};
  request.keep_mtime = true;
  request.follow = true;
  const auto back = round_trip<v1::CommitPart::Head>(request);
  ASSERT_TRUE(back.ok());
  expect_op(back->op);
  EXPECT_EQ(back->ino, Ino(5));
  EXPECT_EQ(back->base, std::optional<Version>(Version(0)));
  EXPECT_EQ(back->keep_below, UINT64_MAX);
  EXPECT_EQ(back->size, limits::kFileBytes);
  EXPECT_TRUE(back->append);
  EXPECT_EQ(back->mtime, Time{-7});
  EXPECT_TRUE(back->keep_mtime);
  EXPECT_TRUE(back->follow);
  request.base.reset();
  EXPECT_FALSE(round_trip<v1::CommitPart::Head>(request)->base.has_value());
}

TEST(ConvertCommit, HeadIsChecked) {
  CommitRequest request;
  request.op = kOp;
  EXPECT_THAT(refusal(round_trip<v1::CommitPart::Head>(request)), StartsWith("invalid: head.ino:"));
  request.ino = Ino(1);
  request.size = limits::kFileBytes + 1;
  EXPECT_THAT(refusal(round_trip<v1::CommitPart::Head>(request)),
              StartsWith("too-large: head.size:"));
  request.size = 0;
  request.base = Version(UINT64_MAX);
  EXPECT_THAT(refusal(round_trip<v1::CommitPart::Head>(request)),
              StartsWith("invalid: head.base_version:"));
}

v1::CommitPart part_of(std::vector<Extent> extents) {
  v1::CommitPart part;
  for (Extent& extent : extents) add_extent(std::move(extent), &part);
  return over_the_wire(part);
}

TEST(ConvertCommit, ExtentsComeBackInOrderOverParts) {
  ExtentReader reader;
  std::vector<Extent> out;
  ASSERT_TRUE(reader.take(part_of({{0, 3, "abc"}, {3, 10, ""}}), &out).ok());
  ASSERT_TRUE(reader.take(part_of({{20, 2, std::string("\0\0", 2)}}), &out).ok());
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[0].data, "abc");
  EXPECT_EQ(out[1].offset, 3u);
  EXPECT_EQ(out[1].length, 10u);
  EXPECT_TRUE(out[1].data.empty());
  EXPECT_EQ(out[2].data, std::string("\0\0", 2));
}

std::string refuse_extents(std::vector<Extent> extents) {
  ExtentReader reader;
  std::vector<Extent> out;
  return refusal(reader.take(part_of(std::move(extents)), &out));
}

TEST(ConvertCommit, ExtentsAreChecked) {
  EXPECT_THAT(refuse_extents({{0, 0, ""}}), StartsWith("invalid: extents.length:"));
  EXPECT_THAT(refuse_extents({{0, 2, "abc"}}), StartsWith("invalid: extents.data:"));
  EXPECT_THAT(
      refuse_extents({{0, limits::kExtentBytes + 1, std::string(limits::kExtentBytes + 1, 'x')}}),
      StartsWith("invalid: extents.data:"));
  EXPECT_THAT(refuse_extents({{limits::kFileBytes, 1, "x"}}), StartsWith("too-large: extents:"));
  EXPECT_THAT(refuse_extents({{UINT64_MAX, 1, "x"}}), StartsWith("too-large: extents.offset:"));
  EXPECT_THAT(refuse_extents({{1, UINT64_MAX, ""}}), StartsWith("too-large: extents.length:"));
  EXPECT_THAT(refuse_extents({{0, 3, "abc"}, {2, 1, "x"}}), StartsWith("invalid: extents.offset:"));
  EXPECT_THAT(refuse_extents(std::vector<Extent>(limits::kExtentsPerPart + 1, {0, 1, "x"})),
              StartsWith("invalid: extents:"));
  EXPECT_EQ(refuse_extents({{limits::kFileBytes - 1, 1, "x"}}), "accepted");
}

TEST(ConvertCommit, OrderHoldsOverParts) {
  ExtentReader reader;
  std::vector<Extent> out;
  ASSERT_TRUE(reader.take(part_of({{10, 5, ""}}), &out).ok());
  EXPECT_THAT(refusal(reader.take(part_of({{14, 1, "x"}}), &out)),
              StartsWith("invalid: extents.offset:"));
}

TEST(ConvertMutations, ReplyKeepsEveryField) {
  MutationReply reply;
  reply.seq = Seq(1);
  reply.as_of = Seq(2);
  reply.nodes = {some_file(), some_directory(), some_symlink()};
  reply.offset = 3;
  reply.merged = true;
  reply.unmerged = Version{3};
  reply.created = false;
  reply.version = Version(4);
  const auto back = round_trip<v1::MutationReply>(MutationReply(reply));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, reply);
}

TEST(ConvertMutations, ReplyIsChecked) {
  MutationReply reply;
  reply.nodes.assign(limits::kMutationNodes + 1, some_directory());
  EXPECT_THAT(refusal(round_trip<v1::MutationReply>(MutationReply(reply))),
              StartsWith("invalid: nodes:"));
  reply.nodes.clear();
  reply.offset = limits::kFileBytes + 1;
  EXPECT_THAT(refusal(round_trip<v1::MutationReply>(MutationReply(reply))),
              StartsWith("too-large: offset:"));
}

}  // namespace
}  // namespace linkspan::wire
