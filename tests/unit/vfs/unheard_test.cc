// Changes whose caller was killed while the router made them: nobody hears of the outcome, and the
// router tells everybody but us.
#include <sys/xattr.h>

#include <future>

#include "mounts.h"

namespace linkspan::vfs::testing {
namespace {

struct Killed {
  const char* name;
  const char* call;  // of the store
  std::function<Status(Mount&)> change;
};

Status made(const Result<Entry>& entry) {
  return entry.ok() ? ok() : Status(entry.error());
}

class Unheard : public TwoMounts {
 protected:
  void SetUp() override {
    ASSERT_OK(a.write("x", "old\n"));
    ASSERT_OK(a.write("y", "saved\n"));
    ASSERT_OK(a.vfs->setxattr(a.me, a.ino("y"), "user.k", "old", 0));
    ASSERT_OK(a.mkdir("d"));
    // So that no access time is due: it is set in the background, and the store stops at each call.
    SetAttr read;
    read.atime = Time{Clock::system().now().ns + 3600'000'000'000};
    for (const char* name : {"", "x", "y", "d"}) ASSERT_OK(a.set(name, read));
  }
  void TearDown() override { go_on(); }

  // All that programs can see of the names of these tests.
  static std::string seen(Mount& mount) {
    std::string all;
    for (const std::string& name : mount.list("")) all += name + " ";
    const auto describe = [&all, &mount](const Attr& attr) {
      all += "inode " + std::to_string(attr.ino.value) + " links " + std::to_string(attr.nlink) +
             " mode " + std::to_string(attr.mode) + " size " + std::to_string(attr.size) +
             " mtime " + std::to_string(attr.mtime.ns) + " ctime " + std::to_string(attr.ctime.ns);
      all += " k=" + text(mount.vfs->getxattr(mount.me, attr.ino, "user.k")) + "\n";
    };
    describe(mount.vfs->getattr(mount.me, mount.root, std::nullopt)->attr);
    for (const char* name : {"x", "y", "z", "d"}) {
      const auto entry = mount.find(name);
      all += std::string(name) + ": ";
      if (!entry.ok()) {
        all += text(Result<std::string>(entry.error())) + "\n";
        continue;
      }
      describe(entry->attr);
      if (entry->attr.kind == Kind::file) all += text(mount.read(name));
    }
    return all;
  }

  // The caller is killed when the store has been asked; the store does it in go_on().
  void killed(const std::string& call, const std::function<Status(Mount&)>& change) {
    std::promise<void> asked;
    router.store().before(call, [this, &asked, go = go_.get_future().share()] {
      asked_ = true;
      asked.set_value();
      go.wait();
      return ok();
    });
    client::CancelToken killed;
    a.me.cancel = &killed;
    std::thread caller([&] { EXPECT_EQ(change(a).code(), Code::interrupted); });
    asked.get_future().wait();
    router.store().before(call, nullptr);
    killed.cancel();
    caller.join();
    a.me.cancel = nullptr;
  }
  void go_on() {
    if (gone_on_ || !asked_) return;
    gone_on_ = true;
    go_.set_value();
  }
  // Nothing is asked for that was asked for before.
  bool cached() {
    (void)seen(a);
    const uint64_t calls = a.client.calls();
    (void)seen(a);
    return a.client.calls() == calls;
  }

 private:
  std::promise<void> go_;
  std::atomic<bool> asked_{false};
  bool gone_on_ = false;
};

class UnheardChange : public Unheard, public ::testing::WithParamInterface<Killed> {};

TEST_P(UnheardChange, IsSeenOnceItIsDone) {
  ASSERT_TRUE(eventually([&] { return cached(); }));
  const std::string before = seen(a);
  killed(GetParam().call, GetParam().change);
  EXPECT_EQ(seen(a), before);
  go_on();
  ASSERT_TRUE(eventually([&] { return seen(b) != before; }));
  // Nobody was told that it is done: b may see a part of it before it hears of all.
  EXPECT_TRUE(eventually([&] { return seen(a) == seen(b); })) << seen(a) << seen(b);
  // And is cached as ever when the router has said that it is done.
  EXPECT_TRUE(eventually([&] { return cached(); }));
  EXPECT_EQ(seen(a), seen(b));
  ASSERT_OK(a.append("x", "more\n"));
  EXPECT_NE(text(b.read("x")).find("more\n"), std::string::npos);
}

SetAttr mode(uint32_t mode) {
  SetAttr set;
  set.mode = mode;
  return set;
}

SetAttr size(uint64_t size) {
  SetAttr set;
  set.size = size;
  return set;
}

INSTANTIATE_TEST_SUITE_P(
    Each, UnheardChange,
    ::testing::Values(
        Killed{"Rename", "rename", [](Mount& m) { return m.rename("y", "x"); }},
        Killed{"RenameToANewName", "rename", [](Mount& m) { return m.rename("y", "z"); }},
        Killed{"Unlink", "remove", [](Mount& m) { return m.unlink("x"); }},
        Killed{"Rmdir", "remove", [](Mount& m) { return m.vfs->rmdir(m.me, m.root, "d"); }},
        Killed{"Create", "create",
               [](Mount& m) {
                 const auto opened = m.vfs->create(m.me, m.root, "z", 0644, O_WRONLY | O_EXCL);
                 return opened.ok() ? ok() : Status(opened.error());
               }},
        Killed{"Mkdir", "create",
               [](Mount& m) { return made(m.vfs->mkdir(m.me, m.root, "z", 0755)); }},
        Killed{"Link", "link",
               [](Mount& m) { return made(m.vfs->link(m.me, m.ino("y"), m.root, "z")); }},
        Killed{"Chmod", "set_attributes", [](Mount& m) { return m.set("x", mode(0600)); }},
        Killed{"Truncate", "set_attributes", [](Mount& m) { return m.set("x", size(1)); }},
        Killed{"Setxattr", "set_xattr",
               [](Mount& m) { return m.vfs->setxattr(m.me, m.ino("y"), "user.k", "new", 0); }}),
    [](const auto& change) { return change.param.name; });

// Neither name was in the caches: the router alone knows which node it was.
TEST_F(Unheard, OfANameThatWasNotKnownAllIsForgotten) {
  ASSERT_OK(a.vfs->link(a.me, a.ino("x"), a.root, "z"));
  const Ino x = a.ino("x");
  ASSERT_OK(b.rename("d", "e"));
  ASSERT_OK(b.vfs->link(b.me, x, b.ino("e"), "again"));
  ASSERT_EQ(a.attr("x").nlink, 3u);
  killed("remove", [&](Mount& m) { return m.vfs->unlink(m.me, m.ino("e"), "again"); });
  go_on();
  EXPECT_TRUE(eventually([&] { return b.attr("x").nlink == 2; }));
  EXPECT_EQ(a.attr("x").nlink, 2u);
  EXPECT_TRUE(eventually([&] { return cached(); }));
}

// It is not sent again: who heard of no answer may have done something else since.
TEST_F(Unheard, WhatNeverArrivedIsNotDoneLater) {
  ASSERT_TRUE(eventually([&] { return cached(); }));
  client::CancelToken killed;
  a.me.cancel = &killed;
  const Ino d = a.ino("d");
  a.client.cut();
  std::thread caller([&] { EXPECT_EQ(a.vfs->rmdir(a.me, a.root, "d").code(), Code::interrupted); });
  killed.cancel();
  caller.join();
  a.me.cancel = nullptr;
  a.client.join();
  EXPECT_TRUE(eventually([&] { return cached(); }));
  EXPECT_EQ(b.ino("d"), d);
}

}  // namespace
}  // namespace linkspan::vfs::testing
