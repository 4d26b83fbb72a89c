import torch

from virtualpool.recover.distances import distance_of_sites, mean_relative_square, relative_square


def test_relative_square_equals_a_loop():
    given, wanted = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    distance = sum((a - b) ** 2 for a, b in zip(given.flatten(), wanted.flatten(), strict=True))
    length = sum(b**2 for b in wanted.flatten())
    torch.testing.assert_close(relative_square(given, wanted), torch.as_tensor(distance / length))


def test_relative_square_of_nothing_is_finite():
    assert relative_square(torch.zeros(3), torch.zeros(3)) == 0


def test_the_distance_of_sites_is_the_mean_of_their_means_over_calls():
    def ones(side: int) -> torch.Tensor:
        return torch.ones(1, 2, side, side)

    full = {"once": [2 * ones(3)], "twice": [ones(2), 4 * ones(2)]}
    reduced = {"twice": [3 * ones(2), ones(2)], "once": [ones(3)]}
    expected = (0.25 + (4 + 0.5625) / 2) / 2
    torch.testing.assert_close(distance_of_sites(reduced, full), torch.tensor(expected))
    assert distance_of_sites({}, {}) == 0


def test_what_the_original_lacks_is_not_compared():
    given, wanted = torch.randn(2, 3, 6, 7), torch.randn(2, 3, 4, 7)
    expected = relative_square(given[:, :, :4], wanted)
    assert torch.equal(mean_relative_square([given], [wanted]), expected)
