# SPDX-License-Identifier: MIT
# Workload of bench/real/perl: a word count by hash, records of hashes and arrays, sorting, strings joined, split and replaced.
use strict;
use warnings;

my $seed = 1;

sub next_below {
    my ($limit) = @_;
    $seed = ($seed * 1103515245 + 12345) & 0x7fffffff;
    return ($seed >> 8) % $limit;
}

sub checksum {
    my ($text) = @_;
    return unpack('%32C*', $text);
}

my @words = map { join '', map { chr(97 + next_below(26)) } 1 .. 2 + next_below(12) } 1 .. 4000;
for my $round (1 .. 3) {
    my $text = join ' ', map { $words[next_below(4000)] } 1 .. 60_000;
    my (%count, %places);
    my $at = 0;
    for my $word (split / /, $text) {
        $count{$word}++;
        push @{ $places{$word} }, { at => $at++, word => $word, upper => uc $word };
    }
    my @order = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
    print "$round $order[0] $count{$order[0]} ", scalar(@order), ' ', checksum(join ',', @order), "\n";
    my $sum = 0;
    for my $word (@order) {
        $sum = ($sum * 31 + $_->{at} + length $_->{upper}) % 1000003 for @{ $places{$word} };
        delete $places{$word} if $sum % 3 == 0;
    }
    (my $turned = $text) =~ s/(\w)(\w*)/$2$1/g;
    print "$sum ", scalar(keys %places), ' ', checksum($turned), "\n";
}
my @cache = map { 'x' x next_below(3000) } 1 .. 20_000;
for my $i (1 .. 300_000) {
    my $slot = next_below(20_000);
    undef $cache[$slot];
    $cache[$slot] = ($i . ',') x next_below(300);
}
print checksum(join '', @cache), "\n";
