"""Conformance: does a method keep the promises that every number of the benchmark rests on?"""
