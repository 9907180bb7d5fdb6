// What programs ask through .linkspan/query, over a router in this process.
#include "fusefs/cli/mount_query.h"

#include <gtest/gtest.h>

#include "fusefs/cli/conflict_folders.h"
#include "fusefs/cli/query_json.h"
#include "tests/support/local_client.h"
#include "tests/support/world.h"

namespace linkspan::cli {
namespace {

using test::must;

class Listener final : public client::SessionListener {
 public:
  void on_revoke(const Revocation&) override {}
  void on_caches_lost() override {}
  void on_link(const client::LinkState&) override {}
};

class Query : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto info = must(client_.attach(call(), &listener_));
    mount_.client = &client_;
    mount_.routes = info.routes;
    mount_.owner = 1000;
    mount_.drop_everything = [this] { ++dropped_; };
    for (const auto& route : info.routes)
      if (route.path == "memory") root_ = route.root;
    me_.uid = 1000;
  }
  void TearDown() override { client_.detach(); }
  static client::Call call() {
    client::Call call;
    call.deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    return call;
  }
  Ino make(const std::string& name, const std::string& content) {
    CreateRequest create;
    create.parent = root_;
    create.name = name;
    create.mode = 0644;
    const Ino ino = must(client_.create(call(), create)).nodes.at(0).attr.ino;
    write(ino, content);
    return ino;
  }
  void write(Ino ino, const std::string& content) {
    CommitRequest commit;
    commit.ino = ino;
    commit.keep_below = 0;
    commit.size = content.size();
    commit.extents =
        std::make_shared<ExtentList>(std::vector<Extent>{{0, content.size(), content}});
    must(client_.commit(call(), commit));
  }
  // The header; the bytes after it are in bytes_.
  Json ask_text(const std::string& request) {
    const auto text = mount_.answer(me_, request);
    const size_t line = text.find('\n');
    EXPECT_NE(line, std::string::npos) << text;
    bytes_ = text.substr(line + 1);
    const auto header = Json::parse(text.substr(0, line), nullptr, false);
    EXPECT_TRUE(header.is_object() && header.contains("ok")) << text;
    return header;
  }
  Json ask(const Json& request) { return ask_text(request.dump()); }
  std::string code(const Json& request) { return ask(request).value("code", ""); }

  test::LocalRouter router_;
  test::LocalClient client_{&router_, test::LocalRouter::kAgent};
  Listener listener_;
  MountQueries mount_;
  vfs::Caller me_;
  Ino root_;
  int dropped_ = 0;
  std::string bytes_;
};

TEST_F(Query, GarbageIsAnsweredWithAnError) {
  const std::string deep(60000, '[');
  for (const std::string& text :
       {std::string(),
        std::string("x"),
        std::string("{"),
        std::string("[]"),
        std::string("null"),
        std::string("7"),
        std::string("\"read\""),
        std::string("{}"),
        std::string("{\"op\": 7}"),
        std::string("{\"op\": \"rm\"}"),
        std::string("\0\xff\xfe", 3),
        deep,
        "{\"op\": \"read\", \"x\": " + deep,
        std::string("{\"op\":\"read\",\"route\":\"memory\",\"ino\":\"one\",\"version\":-1,"
                    "\"length\":1e300,\"offset\":[]}"),
        std::string("{\"op\":\"versions\",\"route\":\"memory\",\"ino\":18446744073709551615}"),
        std::string("{\"op\":\"versions\",\"ino\":1}"),
        std::string("{\"op\":\"versions\",\"route\":\"none\",\"ino\":1}"),
        std::string("{\"op\":\"changes\",\"below\":\"a\\u0000b\"}"),
        "{\"op\":\"changes\",\"author\":\"" + std::string(256, 'a') + "\"}",
        std::string("{\"op\":\"settle\",\"number\":0}"),
        std::string("{\"op\":\"settle\",\"number\":123456}")})
    EXPECT_FALSE(ask_text(text).value("ok", true)) << text.substr(0, 100);
}

TEST(QueryJson, WhatHasAnotherShapeCountsAsEmpty) {
  for (const char* text : {R"({"routes":"x"})", R"({"routes":["x",7]})", R"({"routes":{"a":1}})",
                           R"({"routes":[{"reaches":7}]})", R"([])", "7"}) {
    const NarrowReply reply = narrow_reply_from(Json::parse(text));
    for (const Route& route : reply.routes) EXPECT_TRUE(route.path.empty()) << text;
  }
}

TEST_F(Query, VersionsAndTheirContent) {
  const Ino ino = make("note", "one");
  write(ino, "number two");
  const auto versions = ask({{"op", "versions"}, {"route", "memory"}, {"ino", ino.value}});
  ASSERT_EQ(versions["versions"].size(), 3u);
  EXPECT_EQ(versions["versions"][0]["version"], 3);
  EXPECT_EQ(versions["versions"][0]["size"], 10);
  EXPECT_EQ(versions["versions"][0]["principal"], "agent");
  const auto read = ask({{"op", "read"},
                         {"route", "memory"},
                         {"ino", ino.value},
                         {"version", 2},
                         {"offset", 1},
                         {"length", 100}});
  EXPECT_EQ(bytes_, "ne");
  EXPECT_EQ(read["size"], 3);
  EXPECT_EQ(read["length"], 2);
  EXPECT_EQ(
      code(
          {{"op", "read"}, {"route", "memory"}, {"ino", ino.value}, {"version", 9}, {"length", 1}}),
      "not-found");
  EXPECT_EQ(code({{"op", "read"}, {"route", "memory"}, {"ino", 1}, {"length", 1}}), "is-directory");
  EXPECT_EQ(ask({{"op", "node"}, {"route", "memory"}, {"ino", ino.value}})["kind"], "file");
  EXPECT_EQ(ask({{"op", "node"}, {"route", "memory"}, {"ino", 1}})["ino"], root_.value);
}

TEST_F(Query, NamesThatAreNoTextComeAsBytes) {
  const std::string name = "caf\xe9";
  make(name, "x");
  const auto changes =
      ask({{"op", "changes"}, {"route", "memory"}, {"newest", true}, {"limit", 1}});
  ASSERT_EQ(changes["changes"].size(), 1u);
  EXPECT_EQ(get_bytes(changes["changes"][0], "path"), name);
  EXPECT_EQ(change_from(changes["changes"][0]).path, name);
  Json request{{"op", "changes"}, {"route", "memory"}};
  set_bytes(request, "below", name);
  EXPECT_EQ(get_bytes(Json::parse(dump_line(request)), "below"), name);
}

TEST_F(Query, ChangesOfOneNode) {
  const Ino ino = make("mine", "one");
  make("other", "two");
  const auto changes = ask({{"op", "changes"}, {"route", "memory"}, {"ino", ino.value}})["changes"];
  ASSERT_EQ(changes.size(), 2u);
  for (const auto& change : changes) EXPECT_EQ(change["path"], "mine");
}

TEST_F(Query, WhoMayAskWithOwnersKeptApart) {
  const Ino ino = make("note", "secret");
  const Json read{{"op", "read"}, {"route", "memory"}, {"ino", ino.value}, {"length", 9}};
  const Json versions{{"op", "versions"}, {"route", "memory"}, {"ino", ino.value}};
  me_.uid = 2000;
  EXPECT_EQ(code(read), "");
  mount_.ownership = vfs::Ownership::identity;
  EXPECT_EQ(code(read), "access-denied");
  EXPECT_TRUE(bytes_.empty());
  EXPECT_EQ(code({{"op", "node"}, {"route", "memory"}, {"ino", ino.value}}), "access-denied");
  EXPECT_EQ(code({{"op", "settle"}, {"number", 1}}), "access-denied");
  EXPECT_EQ(code({{"op", "resume"}}), "access-denied");
  EXPECT_EQ(code(versions), "");
  EXPECT_EQ(dropped_, 0);
  for (const uint32_t uid : {0u, 1000u}) {
    me_.uid = uid;
    EXPECT_EQ(code(read), "") << uid;
  }
}

TEST_F(Query, ResumeDropsAndSaysWhetherTheRouterIsThere) {
  const auto resumed = ask({{"op", "resume"}});
  EXPECT_EQ(resumed["connected"], true);
  EXPECT_EQ(dropped_, 1);
}

TEST_F(Query, AReadOnlyMountSettlesNothing) {
  mount_.read_only = true;
  EXPECT_EQ(code({{"op", "settle"}, {"number", 1}}), "read-only");
}

TEST_F(Query, NarrowsTheMountsTokenForItsOwner) {
  const Json request{{"op", "narrow"},
                     {"reaches", {{{"path", "memory/x"}, {"rights", "append"}}}},
                     {"rights", "no-delete"},
                     {"sandbox", "sub"}};
  const auto header = ask(request);
  ASSERT_TRUE(header.value("ok", false)) << header;
  const NarrowReply reply = narrow_reply_from(header);
  EXPECT_EQ(reply.token.substr(0, 4), "lsp_");
  EXPECT_EQ(reply.principal, "agent");
  EXPECT_TRUE(reply.sandbox.ends_with("/sub"));
  ASSERT_EQ(reply.routes.size(), 1u);
  EXPECT_EQ(reply.routes[0].rights, Access::append_only);
  EXPECT_EQ(reply.routes[0].reaches, std::vector<std::string>{"x"});
  const auto back = must(narrow_request_from(to_json(must(narrow_request_from(request)))));
  EXPECT_EQ(back.reaches.at(0).path, "memory/x");
  EXPECT_EQ(back.reaches.at(0).rights, Access::append_only);
  EXPECT_EQ(back.rights, Access::no_delete);
  EXPECT_EQ(back.sandbox, "sub");
  EXPECT_EQ(code({{"op", "narrow"}, {"rights", "all"}}), "invalid");
  EXPECT_EQ(code({{"op", "narrow"}, {"reaches", {{{"path", "nowhere"}}}}}), "access-denied");
  mount_.read_only = true;
  EXPECT_EQ(narrow_reply_from(ask({{"op", "narrow"}})).routes.at(0).rights, Access::read_only);
  me_.uid = 1001;
  EXPECT_EQ(code({{"op", "narrow"}}), "access-denied") << "who could not read the mount's token";
}

TEST_F(Query, EndsWithItsCaller) {
  client_.cut();
  client::CancelToken token;
  token.cancel();
  me_.cancel = &token;
  EXPECT_EQ(code({{"op", "conflicts"}}), "interrupted");
}

TEST(ConflictFolder, NameAndInfo) {
  Conflict conflict;
  conflict.number = Seq{17};
  conflict.what = "write";
  conflict.volume = "memory";
  conflict.path = "deep/MEMORY.md";
  conflict.base = Version{3};
  conflict.head = Version{5};
  conflict.principal = "bob\n";
  conflict.sandbox = "box";
  EXPECT_EQ(conflict_folder(conflict), "17-MEMORY.md");
  const auto text = conflict_info(conflict, conflict_place(conflict, {}));
  for (const char* part : {"(volume memory) deep/MEMORY.md", "bob\\x0A@box", "version 3",
                           "version 5", "linkspan resolve 17 --theirs"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  conflict.path = std::string(300, 'x');
  EXPECT_EQ(conflict_folder(conflict).size(), 255u);
  EXPECT_EQ(conflict_from(Json::parse(dump_line(to_json(conflict)))), conflict);
}

}  // namespace
}  // namespace linkspan::cli
