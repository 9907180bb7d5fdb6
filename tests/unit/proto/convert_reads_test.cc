#include "tests/unit/proto/wire_trip.h"

#include <gmock/gmock.h>

#include "linkspan/limits.h"

namespace linkspan::wire {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(ConvertNode, KeepsEveryField) {
  for (const Node& node : {some_file(), some_directory(), some_symlink()}) {
    const auto back = round_trip<v1::Node>(Node(node));
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_EQ(*back, node);
  }
}

TEST(ConvertNode, TellsAnEmptyFileFromOneWithoutContent) {
  Node empty = some_file();
  empty.attr.size = 0;
  empty.content = "";
  EXPECT_EQ(round_trip<v1::Node>(Node(empty))->content, std::optional<std::string>(""));
  empty.content.reset();
  EXPECT_FALSE(round_trip<v1::Node>(Node(empty))->content.has_value());
}

template <class Edit>
std::string refuse_node(Node node, Edit edit) {
  v1::Node m;
  to_wire(std::move(node), &m);
  edit(m);
  return refusal(from_wire(std::move(m)));
}

TEST(ConvertNode, RefusesWhatIsOutOfBounds) {
  const auto attr = [](auto edit) {
    return refuse_node(some_file(), [&](v1::Node& m) { edit(*m.mutable_attr()); });
  };
  EXPECT_THAT(refuse_node(some_file(), [](v1::Node& m) { m.clear_attr(); }),
              StartsWith("invalid: node.attr:"));
  EXPECT_THAT(attr([](v1::Attr& m) { m.set_ino(0); }), StartsWith("invalid: attr.ino:"));
  EXPECT_THAT(attr([](v1::Attr& m) { m.set_kind(v1::KIND_UNSPECIFIED); }),
              StartsWith("invalid: attr.kind:"));
  EXPECT_THAT(attr([](v1::Attr& m) { m.set_kind(static_cast<v1::Kind>(6)); }),
              StartsWith("invalid: attr.kind:"));
  EXPECT_THAT(attr([](v1::Attr& m) { m.set_kind(static_cast<v1::Kind>(-1)); }),
              StartsWith("invalid: attr.kind:"));
  EXPECT_THAT(attr([](v1::Attr& m) { m.set_mode(0100644); }), StartsWith("invalid: attr.mode:"));
  EXPECT_THAT(attr([](v1::Attr& m) { m.set_size(limits::kFileBytes + 1); }),
              StartsWith("too-large: attr.size:"));
  EXPECT_THAT(attr([](v1::Attr& m) { m.set_allocated(UINT64_MAX); }),
              StartsWith("invalid: attr.allocated:"));
}

TEST(ConvertNode, RefusesContentThatIsNotTheFiles) {
  EXPECT_THAT(refuse_node(some_file(), [](v1::Node& m) { m.set_content("four"); }),
              StartsWith("invalid: node.content:"));
  EXPECT_THAT(refuse_node(some_file(), [](v1::Node& m) { m.set_content_version(8); }),
              StartsWith("invalid: node.content_version:"));
  EXPECT_THAT(refuse_node(some_directory(), [](v1::Node& m) { m.set_content("12345"); }),
              StartsWith("invalid: node.content:"));
  EXPECT_THAT(refuse_node(some_file(),
                          [](v1::Node& m) {
                            m.set_content(std::string(limits::kInlineContent + 1, 'x'));
                            m.mutable_attr()->set_size(limits::kInlineContent + 1);
                          }),
              StartsWith("invalid: node.content:"));
}

TEST(ConvertNode, RefusesBadTargets) {
  const auto target = [](std::string text) {
    return refuse_node(some_symlink(), [&](v1::Node& m) { m.set_target(text); });
  };
  EXPECT_THAT(target(""), StartsWith("invalid: node.target:"));
  EXPECT_THAT(target(std::string("a\0b", 3)), StartsWith("invalid: node.target:"));
  EXPECT_THAT(target(std::string(limits::kSymlinkBytes + 1, 'a')),
              StartsWith("invalid: node.target:"));
  EXPECT_EQ(target(std::string(limits::kSymlinkBytes, 'a')), "accepted");
  EXPECT_THAT(refuse_node(some_file(), [](v1::Node& m) { m.set_target("x"); }),
              StartsWith("invalid: node.target:"));
}

TEST(ConvertNames, AcceptsAnyBytesButNulAndSlash) {
  for (const std::string& name :
       {std::string("MEMORY.md"), std::string("\xff\xfe"), std::string("..."), std::string(" "),
        std::string(255, 'n'), std::string("new\nline")})
    EXPECT_TRUE(check_name("name", name).ok()) << name;
  EXPECT_EQ(refusal(check_name("name", "")), "invalid: name: is empty");
  EXPECT_THAT(refusal(check_name("name", std::string(256, 'n'))),
              StartsWith("name-too-long: name"));
  EXPECT_THAT(refusal(check_name("name", "a/b")), HasSubstr("'/'"));
  EXPECT_THAT(refusal(check_name("name", std::string("a\0b", 3))), HasSubstr("NUL"));
  EXPECT_THAT(refusal(check_name("name", ".")), StartsWith("invalid: name"));
  EXPECT_THAT(refusal(check_name("name", "..")), StartsWith("invalid: name"));
}

TEST(ConvertReads, RequestsKeepEveryField) {
  const auto lookup = round_trip<v1::LookupRequest>(LookupRequest{Ino(1), "a\xff", true});
  ASSERT_TRUE(lookup.ok());
  EXPECT_EQ(lookup->parent, Ino(1));
  EXPECT_EQ(lookup->name, "a\xff");
  EXPECT_TRUE(lookup->want_content);
  const auto getattr = round_trip<v1::GetAttrRequest>(GetAttrRequest{Ino(2), true});
  ASSERT_TRUE(getattr.ok());
  EXPECT_EQ(getattr->ino, Ino(2));
  EXPECT_TRUE(getattr->want_content);
  const auto readdir = round_trip<v1::ReadDirRequest>(ReadDirRequest{Ino(3), Cookie(4), 5, true});
  ASSERT_TRUE(readdir.ok());
  EXPECT_EQ(readdir->dir, Ino(3));
  EXPECT_EQ(readdir->after, Cookie(4));
  EXPECT_EQ(readdir->limit, 5u);
  EXPECT_TRUE(readdir->want_content);
  const auto read = round_trip<v1::ReadRequest>(ReadRequest{Ino(6), Version(7), 1ull << 40, 8});
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->ino, Ino(6));
  EXPECT_EQ(read->version, Version(7));
  EXPECT_EQ(read->offset, 1ull << 40);
  EXPECT_EQ(read->length, 8u);
  EXPECT_EQ(*round_trip<v1::XattrsRequest>(Ino(9)), Ino(9));
  const auto ranges =
      round_trip<v1::DataRangesRequest>(DataRangesRequest{Ino(6), Version(7), 1ull << 40});
  ASSERT_TRUE(ranges.ok());
  EXPECT_EQ(ranges->ino, Ino(6));
  EXPECT_EQ(ranges->version, Version(7));
  EXPECT_EQ(ranges->offset, 1ull << 40);
  EXPECT_EQ(*round_trip<v1::StatFsRequest>(Ino(10)), Ino(10));
}

TEST(ConvertReads, HistoryRequestsKeepEveryField) {
  const auto versions = round_trip<v1::VersionsRequest>(VersionsRequest{Ino(1), Version(2), 3});
  ASSERT_TRUE(versions.ok());
  EXPECT_EQ(versions->ino, Ino(1));
  EXPECT_EQ(versions->before, Version(2));
  EXPECT_EQ(versions->limit, 3u);
  const auto changes = round_trip<v1::ChangesRequest>(ChangesRequest{Seq(1), 2, true, Ino(3)});
  ASSERT_TRUE(changes.ok());
  EXPECT_EQ(changes->after, Seq(1));
  EXPECT_EQ(changes->limit, 2u);
  EXPECT_TRUE(changes->newest);
  EXPECT_EQ(changes->under, Ino(3));
  const auto prefetch = round_trip<v1::PrefetchRequest>(PrefetchRequest{Ino(1), 2, 3});
  ASSERT_TRUE(prefetch.ok());
  EXPECT_EQ(prefetch->dir, Ino(1));
  EXPECT_EQ(prefetch->max_bytes, 2u);
  EXPECT_EQ(prefetch->max_nodes, 3u);
}

TEST(ConvertReads, RefusesRequestsOutOfBounds) {
  const auto read = [](ReadRequest request) {
    return refusal(round_trip<v1::ReadRequest>(request));
  };
  EXPECT_THAT(read({Ino(0), {}, 0, 1}), StartsWith("invalid: ino:"));
  EXPECT_THAT(read({Ino(1), {}, uint64_t{INT64_MAX} + 1, 1}), StartsWith("invalid: offset:"));
  EXPECT_THAT(read({Ino(1), Version(UINT64_MAX), 0, 1}), StartsWith("invalid: version:"));
  EXPECT_THAT(read({Ino(1), {}, 0, limits::kReadBytes + 1}), StartsWith("invalid: length:"));
  const auto readdir = [](ReadDirRequest request) {
    return refusal(round_trip<v1::ReadDirRequest>(request));
  };
  EXPECT_THAT(readdir({Ino(0), {}, 1}), StartsWith("invalid: dir:"));
  EXPECT_THAT(readdir({Ino(1), {}, 0}), StartsWith("invalid: limit:"));
  EXPECT_THAT(readdir({Ino(1), {}, limits::kPageEntries + 1}), StartsWith("invalid: limit:"));
  EXPECT_THAT(readdir({Ino(1), Cookie(UINT64_MAX), 1}), StartsWith("invalid: after:"));
  EXPECT_THAT(refusal(round_trip<v1::LookupRequest>(LookupRequest{Ino(0), "a"})),
              StartsWith("invalid: parent:"));
  EXPECT_THAT(refusal(round_trip<v1::LookupRequest>(LookupRequest{Ino(1), ".."})),
              StartsWith("invalid: name:"));
  EXPECT_THAT(refusal(round_trip<v1::GetAttrRequest>(GetAttrRequest{})),
              StartsWith("invalid: ino:"));
  EXPECT_THAT(refusal(round_trip<v1::XattrsRequest>(Ino())), StartsWith("invalid: ino:"));
  EXPECT_THAT(refusal(round_trip<v1::StatFsRequest>(Ino())), StartsWith("invalid: ino:"));
  EXPECT_THAT(refusal(round_trip<v1::PrefetchRequest>(PrefetchRequest{})),
              StartsWith("invalid: dir:"));
  EXPECT_THAT(refusal(round_trip<v1::VersionsRequest>(VersionsRequest{Ino(1), {}, 0})),
              StartsWith("invalid: limit:"));
  EXPECT_THAT(refusal(round_trip<v1::ChangesRequest>(ChangesRequest{{}, limits::kHistoryPage + 1})),
              StartsWith("invalid: limit:"));
}

TEST(ConvertReads, RepliesKeepEveryField) {
  const auto found = round_trip<v1::LookupReply>(LookupReply{some_file(), Seq(5)});
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->node, some_file());
  EXPECT_EQ(found->as_of, Seq(5));
  const auto absent = round_trip<v1::LookupReply>(LookupReply{std::nullopt, Seq(6)});
  ASSERT_TRUE(absent.ok());
  EXPECT_FALSE(absent->node.has_value());
  EXPECT_EQ(absent->as_of, Seq(6));
  const auto node = round_trip<v1::NodeReply>(NodeReply{some_symlink(), Seq(7)});
  ASSERT_TRUE(node.ok());
  EXPECT_EQ(node->node, some_symlink());
  EXPECT_EQ(node->as_of, Seq(7));
  const auto read =
      round_trip<v1::ReadReply>(ReadReply{std::string("\0x", 2), Version(1), 2, Seq(3)});
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->data, std::string("\0x", 2));
  EXPECT_EQ(read->version, Version(1));
  EXPECT_EQ(read->size, 2u);
  EXPECT_EQ(read->as_of, Seq(3));
  const auto ranges =
      round_trip<v1::DataRangesReply>(DataRangesReply{{{0, 3}, {5, 8}}, 9, 10, Version(4)});
  ASSERT_TRUE(ranges.ok());
  EXPECT_EQ(ranges->ranges, (std::vector<DataRange>{{0, 3}, {5, 8}}));
  EXPECT_EQ(ranges->until, 9u);
  EXPECT_EQ(ranges->size, 10u);
  EXPECT_EQ(ranges->version, Version(4));
  const auto statfs = round_trip<v1::StatFsReply>(StatFsReply{1, 2, 3, 4});
  ASSERT_TRUE(statfs.ok());
  EXPECT_EQ(statfs->total_bytes, 1u);
  EXPECT_EQ(statfs->used_bytes, 2u);
  EXPECT_EQ(statfs->total_files, 3u);
  EXPECT_EQ(statfs->used_files, 4u);
}

ReadDirReply some_page() {
  ReadDirReply page;
  page.entries = {{"a", Cookie(1), some_file()}, {"\xff", Cookie(9), some_directory()}};
  page.end = true;
  page.dir = some_directory();
  page.as_of = Seq(8);
  return page;
}

TEST(ConvertReads, PagesKeepEveryField) {
  const auto page = round_trip<v1::ReadDirReply>(some_page());
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(page->entries, some_page().entries);
  EXPECT_TRUE(page->end);
  EXPECT_EQ(page->dir, some_directory());
  EXPECT_EQ(page->as_of, Seq(8));
  const auto prefetched = round_trip<v1::PrefetchReply>(PrefetchPage{Ino(3), some_page()});
  ASSERT_TRUE(prefetched.ok());
  EXPECT_EQ(prefetched->dir, Ino(3));
  EXPECT_EQ(prefetched->page.entries, some_page().entries);
}

TEST(ConvertReads, RefusesPagesThatWouldMisleadTheMount) {
  const auto page = [](auto edit) {
    v1::ReadDirReply m;
    to_wire(some_page(), &m);
    edit(m);
    return refusal(from_wire(std::move(m)));
  };
  EXPECT_THAT(page([](v1::ReadDirReply& m) { m.mutable_entries(0)->set_name("a/b"); }),
              StartsWith("invalid: entries.name:"));
  EXPECT_THAT(page([](v1::ReadDirReply& m) { m.mutable_entries(0)->set_name(".."); }),
              StartsWith("invalid: entries.name:"));
  EXPECT_THAT(page([](v1::ReadDirReply& m) { m.mutable_entries(1)->set_cookie(1); }),
              StartsWith("invalid: entries.cookie:"));
  EXPECT_THAT(page([](v1::ReadDirReply& m) { m.mutable_entries(0)->set_cookie(0); }),
              StartsWith("invalid: entries.cookie:"));
  EXPECT_THAT(page([](v1::ReadDirReply& m) { m.mutable_entries(0)->clear_node(); }),
              StartsWith("invalid: node.attr:"));
  EXPECT_THAT(page([](v1::ReadDirReply& m) { m.clear_dir(); }), StartsWith("invalid: node.attr:"));
  EXPECT_THAT(page([](v1::ReadDirReply& m) { to_wire(some_file(), m.mutable_dir()); }),
              StartsWith("invalid: dir:"));
  EXPECT_THAT(page([](v1::ReadDirReply& m) {
                m.clear_entries();
                m.set_end(false);
              }),
              StartsWith("invalid: entries:"));
  EXPECT_THAT(page([](v1::ReadDirReply& m) {
                for (size_t i = 0; i < limits::kPageEntries; ++i) m.add_entries();
              }),
              StartsWith("invalid: entries:"));
}

TEST(ConvertReads, RefusesRepliesOutOfBounds) {
  EXPECT_THAT(refusal(round_trip<v1::ReadReply>(
                  ReadReply{std::string(limits::kReadBytes + 1, 'x'), {}, 0, {}})),
              StartsWith("invalid: data:"));
  const auto ranges = [](std::vector<DataRange> list, uint64_t until, uint64_t size) {
    return refusal(round_trip<v1::DataRangesReply>(DataRangesReply{list, until, size, Version(1)}));
  };
  EXPECT_EQ(ranges({{0, 1}, {2, 5}}, 5, 5), "accepted");
  EXPECT_THAT(ranges({{0, 1}, {1, 5}}, 5, 5), StartsWith("invalid: edges:"));
  EXPECT_THAT(ranges({{2, 2}}, 5, 5), StartsWith("invalid: edges:"));
  EXPECT_THAT(ranges({{2, 6}}, 5, 9), StartsWith("invalid: edges:"));
  EXPECT_THAT(ranges({}, 6, 5), StartsWith("invalid: until:"));
  EXPECT_THAT(ranges({}, 0, UINT64_MAX), StartsWith("too-large: size:"));
  EXPECT_THAT(refusal(round_trip<v1::ReadReply>(ReadReply{"", {}, UINT64_MAX, {}})),
              StartsWith("too-large: size:"));
  EXPECT_THAT(refusal(from_wire(v1::NodeReply())), StartsWith("invalid: node.attr:"));
}

TEST(ConvertReads, XattrsKeepNamesAndValues) {
  const XattrsReply sent{{{"user.a", ""}, {"user.b", std::string("\0\xff", 2)}}, Seq(2)};
  const auto back = round_trip<v1::XattrsReply>(XattrsReply(sent));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->xattrs, sent.xattrs);
  EXPECT_EQ(back->as_of, Seq(2));
}

TEST(ConvertReads, RefusesXattrsOutOfBounds) {
  const auto xattrs = [](std::vector<Xattr> list) {
    return refusal(round_trip<v1::XattrsReply>(XattrsReply{std::move(list), {}}));
  };
  EXPECT_THAT(xattrs({{"", "v"}}), StartsWith("invalid: xattrs.name:"));
  EXPECT_THAT(xattrs({{std::string("a\0b", 3), "v"}}), StartsWith("invalid: xattrs.name:"));
  EXPECT_THAT(xattrs({{std::string(256, 'a'), "v"}}), StartsWith("invalid: xattrs.name:"));
  EXPECT_THAT(xattrs({{"a", std::string(limits::kXattrValueBytes + 1, 'v')}}),
              StartsWith("invalid: xattrs.value:"));
  EXPECT_THAT(xattrs(std::vector<Xattr>(5, {"a", std::string(limits::kXattrValueBytes, 'v')})),
              StartsWith("invalid: xattrs:"));
  EXPECT_THAT(xattrs(std::vector<Xattr>(limits::kXattrs + 1, {"a", ""})),
              StartsWith("invalid: xattrs:"));
}

TEST(ConvertHistory, KeepsEveryField) {
  Change change;
  change.seq = Seq(1);
  change.what = "rename";
  change.ino = Ino(2);
  change.version = Version(3);
  change.volume = "memory";
  change.path = "d/\xff";
  change.old_path = "d/old";
  change.principal = "agent";
  change.sandbox = "s1";
  change.session = SessionId(UINT64_MAX);
  change.at = Time{-5};
  change.size = 6;
  const auto changes = round_trip<v1::ChangesReply>(ChangesReply{{change}, Seq(7)});
  ASSERT_TRUE(changes.ok());
  EXPECT_EQ(changes->changes, std::vector<Change>{change});
  EXPECT_EQ(changes->as_of, Seq(7));

  VersionInfo info;
  info.version = Version(3);
  info.size = 6;
  info.principal = "agent";
  info.sandbox = "s1";
  info.session = SessionId(9);
  info.at = Time{8};
  info.what = "write";
  info.ino = Ino(2);
  const auto versions = round_trip<v1::VersionsReply>(std::vector<VersionInfo>{info});
  ASSERT_TRUE(versions.ok());
  EXPECT_EQ(*versions, std::vector<VersionInfo>{info});
}

TEST(ConvertHistory, RefusesMoreThanAPage) {
  EXPECT_THAT(refusal(round_trip<v1::ChangesReply>(
                  ChangesReply{std::vector<Change>(limits::kHistoryPage + 1), {}})),
              StartsWith("invalid: changes:"));
  EXPECT_THAT(
      refusal(round_trip<v1::VersionsReply>(std::vector<VersionInfo>(limits::kHistoryPage + 1))),
      StartsWith("invalid: versions:"));
}

TEST(ConvertHistory, PeoplesTextSurvivesAnyBytes) {
  Change change;
  change.principal = "bad \xff utf8 \x1b[31m";
  const auto changes = round_trip<v1::ChangesReply>(ChangesReply{{change}, {}});
  ASSERT_TRUE(changes.ok());
  EXPECT_EQ(changes->changes[0].principal, "bad ? utf8 ?[31m");
}

TEST(CleanText, KeepsUtf8AndReplacesTheRest) {
  EXPECT_EQ(clean_text("grüße \xe2\x82\xac \xf0\x9f\x9a\xa2", 100),
            "grüße \xe2\x82\xac \xf0\x9f\x9a\xa2");
  EXPECT_EQ(clean_text("\xc0\xaf", 100), "??");            // overlong
  EXPECT_EQ(clean_text("\xed\xa0\x80", 100), "???");       // a surrogate
  EXPECT_EQ(clean_text("\xf4\x90\x80\x80", 100), "????");  // past U+10FFFF
  EXPECT_EQ(clean_text("a\xe2\x82", 100), "a??");          // cut off
  EXPECT_EQ(clean_text("a\tb\nc\x7f\x01", 100), "a\tb\nc??");
  EXPECT_EQ(clean_text("ab\xe2\x82\xac", 4), "ab");  // never half a character
}

}  // namespace
}  // namespace linkspan::wire
