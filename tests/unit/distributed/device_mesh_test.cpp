#include "titan/distributed/device_mesh.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

namespace titan::distributed {
namespace {

using Ranks = std::vector<int64_t>;

std::shared_ptr<World> fake_world(int64_t rank, int64_t size) {
  RankInfo info;
  info.rank = rank;
  info.world_size = size;
  WorldOptions options;
  options.backend = "fake";
  return std::make_shared<World>(info, options);
}

template <class Function>
std::string mistake(const Function& function) {
  try {
    function();
  } catch (const c10::ValueError& error) {
    return error.what_without_backtrace();
  }
  return "none";
}

// 2 x 3 x 4: the last axis varies fastest, so rank = 12 a + 4 b + c.
TEST(DeviceMesh, LaysRanksOutRowMajor) {
  for (int64_t rank = 0; rank < 24; ++rank) {
    const DeviceMesh mesh(fake_world(rank, 24), {{"a", 2}, {"b", 3}, {"c", 4}});
    EXPECT_EQ(mesh.coordinate("a"), rank / 12);
    EXPECT_EQ(mesh.coordinate("b"), rank / 4 % 3);
    EXPECT_EQ(mesh.coordinate("c"), rank % 4);
    EXPECT_EQ(mesh.size(), 24);
    for (const char* const axis : {"a", "b", "c"}) {
      const Ranks ranks = mesh.ranks(axis);
      ASSERT_EQ(static_cast<int64_t>(ranks.size()), mesh.size(axis));
      EXPECT_EQ(ranks[static_cast<size_t>(mesh.coordinate(axis))], rank);
    }
  }
}

TEST(DeviceMesh, ListsTheRanksOfAnAxis) {
  const DeviceMesh mesh(fake_world(17, 24), {{"a", 2}, {"b", 3}, {"c", 4}});
  EXPECT_EQ(mesh.ranks("a"), (Ranks{5, 17}));
  EXPECT_EQ(mesh.ranks("b"), (Ranks{13, 17, 21}));
  EXPECT_EQ(mesh.ranks("c"), (Ranks{16, 17, 18, 19}));
}

TEST(DeviceMesh, SlicesSeveralAxes) {
  const DeviceMesh mesh(fake_world(17, 24), {{"a", 2}, {"b", 3}, {"c", 4}});
  const DeviceMesh slice = mesh.slice({"a", "c"});
  EXPECT_EQ(slice.size(), 8);
  EXPECT_EQ(slice.ranks(), (Ranks{4, 5, 6, 7, 16, 17, 18, 19}));
  EXPECT_EQ(slice.ranks("a"), mesh.ranks("a"));
  EXPECT_EQ(slice.coordinate("c"), 1);
  EXPECT_FALSE(slice.has("b"));
  EXPECT_EQ(mesh.slice("b").ranks(), (Ranks{13, 17, 21}));
}

TEST(DeviceMesh, TakesAViewForOneAxis) {
  for (int64_t rank = 0; rank < 24; ++rank) {
    const DeviceMesh mesh = DeviceMesh(fake_world(rank, 24), {{"a", 2}, {"b", 3}, {"c", 4}})
                                .with_view("ab", {"a", "b"})
                                .with_view("ac", {"a", "c"});
    EXPECT_EQ(mesh.size("ab"), 6);
    EXPECT_EQ(mesh.coordinate("ab"), rank / 4);
    EXPECT_EQ(mesh.coordinate("ac"), rank / 12 * 4 + rank % 4);
    // The axes of "ac" do not lie side by side, and yet positions rise with ranks.
    const Ranks ranks = mesh.ranks("ac");
    EXPECT_TRUE(std::is_sorted(ranks.begin(), ranks.end()));
    EXPECT_EQ(ranks[static_cast<size_t>(mesh.coordinate("ac"))], rank);
    EXPECT_EQ(mesh.group("ac")->rank(), mesh.coordinate("ac"));
    EXPECT_EQ(mesh.slice("ab").ranks(), mesh.ranks("ab"));
    EXPECT_EQ(mesh.axes().size(), 3U);
  }
}

// A view among axes, and what lies between a view's axes, which cannot come after it.
TEST(DeviceMesh, SlicesByViewsAsByAxes) {
  const DeviceMesh mesh = DeviceMesh(fake_world(13, 24), {{"a", 2}, {"b", 3}, {"c", 4}})
                              .with_view("bc", {"b", "c"})
                              .with_view("ac", {"a", "c"});
  const DeviceMesh slice = mesh.slice({"a", "bc"});
  ASSERT_EQ(slice.axes().size(), 2U);
  EXPECT_EQ(slice.size("bc"), 12);
  EXPECT_EQ(slice.ranks().size(), 24U);
  EXPECT_EQ(slice.ranks("bc"), mesh.ranks("bc"));
  EXPECT_EQ(slice.coordinate("bc"), mesh.coordinate("b") * 4 + mesh.coordinate("c"));
  EXPECT_EQ(mistake([&] {
              mesh.slice({"ac", "b"});
            }),
            "DeviceMesh: expected axes in the mesh's order (a, b, c), got 'b' out of it");
  EXPECT_EQ(mistake([&] {
              mesh.slice({"bc", "c"});
            }),
            "DeviceMesh: expected axes in the mesh's order (a, b, c), got 'c' out of it");
}

TEST(DeviceMesh, SharesTheGroupOfEqualSetsOfRanks) {
  const DeviceMesh mesh =
      DeviceMesh(fake_world(1, 4), {{"dp", 4}, {"cp", 1}, {"tp", 1}}).with_view("all", {"dp", "cp"});
  EXPECT_EQ(mesh.group("dp"), mesh.group());
  EXPECT_EQ(mesh.group("dp"), mesh.group("all"));
  EXPECT_EQ(mesh.group("dp"), mesh.slice("dp").group());
  EXPECT_EQ(mesh.group("cp"), mesh.group("tp"));
  EXPECT_EQ(mesh.group("cp")->size(), 1);
  EXPECT_EQ(mesh.group("cp")->ranks(), (Ranks{1}));
}

TEST(DeviceMesh, NamesWhatDoesNotFit) {
  const auto world = fake_world(0, 8);
  EXPECT_EQ(mistake([&] {
              DeviceMesh(world, {{"dp", 2}, {"tp", 3}});
            }),
            "DeviceMesh: expected axes that multiply to the world size (8), got dp 2 x tp 3 = 6");
  EXPECT_EQ(mistake([&] {
              DeviceMesh(world, {{"dp", 8}, {"tp", 0}});
            }),
            "DeviceMesh: expected a size of at least 1, got 0 for tp");
  EXPECT_EQ(mistake([&] {
              DeviceMesh(world, {{"dp", 4}, {"dp", 2}});
            }),
            "DeviceMesh: expected different names, got dp twice");
  const DeviceMesh mesh(world, {{"dp", 2}, {"cp", 2}, {"tp", 2}});
  EXPECT_EQ(mistake([&] { mesh.size("pp"); }), "DeviceMesh: expected an axis (dp, cp, tp), got 'pp'");
  EXPECT_EQ(mistake([&] {
              mesh.slice({"tp", "dp"});
            }),
            "DeviceMesh: expected axes in the mesh's order (dp, cp, tp), got 'dp' out of it");
  EXPECT_EQ(mistake([&] { mesh.with_view("tp", {"dp", "cp"}); }), "DeviceMesh: expected a new name for a view, got tp");
}

}  // namespace
}  // namespace titan::distributed
